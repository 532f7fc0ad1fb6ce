from hypothesis import given
from hypothesis import strategies as st

from oakctl.tui.viewmodels.picture import INK, RIGHT, WRONG, PictureBox, draw, fit

numbers = st.floats(allow_nan=True, allow_infinity=True)
boxes = st.lists(
    st.builds(PictureBox, numbers, numbers, numbers, numbers, st.text(max_size=30), st.booleans()),
    max_size=4,
)


@given(st.integers(0, 40), st.integers(0, 40), boxes, st.integers(0, 60), st.integers(0, 30))
def test_drawing_fits_whatever_it_is_given(
    width: int, height: int, found: list[PictureBox], columns: int, lines: int
) -> None:
    drawing = draw(width, height, bytes(width * height), found, columns, lines)
    assert len(drawing) <= max(1, lines)
    assert all(len(line) <= max(1, columns) for line in drawing)
    assert len({len(line) for line in drawing}) <= 1


def test_picture_with_too_few_pixels_is_none() -> None:
    assert draw(10, 10, bytes(99), [], 10, 5) == ()


def test_each_character_is_two_pixels() -> None:
    drawing = draw(2, 2, bytes([10, 20, 30, 40]), [], 2, 1)
    assert [(glyph.front[0], glyph.back[0]) for glyph in drawing[0]] == [(10, 30), (20, 40)]


def test_boxes_are_outlined_and_labelled() -> None:
    box = PictureBox(8, 8, 30, 30, "A", right=True)
    drawing = draw(40, 40, bytes(1600), [box], 40, 20)
    assert drawing[3][8].character == "A"
    assert (drawing[3][8].front, drawing[3][8].back) == (INK, RIGHT)
    assert drawing[4][20].front == RIGHT
    assert drawing[10][20].front == (0, 0, 0)
    wrong = draw(40, 40, bytes(1600), [PictureBox(8, 8, 30, 30, "B", right=False)], 40, 20)
    assert wrong[4][20].front == WRONG


def test_fit_keeps_proportions() -> None:
    assert fit(160, 120, 80, 100) == (80, 30)
    assert fit(160, 120, 200, 30) == (80, 30)
