"""Output line by line, whatever pieces it comes in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote.streaming import LONGEST_LINE, Lines

MARK = "0123456789abcdef"


def told(pieces: list[str]) -> list[str]:
    found: list[str] = []
    lines = Lines("out", MARK, lambda stream, text: found.append(text))
    for piece in pieces:
        lines.write(piece)
        lines.flush()
    lines.close()
    return found


@given(
    st.lists(st.text(st.characters(blacklist_characters="\n"), max_size=9)),
    st.integers(1, 7),
    st.sampled_from(["", "Welcome\n", "no line end", "\n\n"]),
)
def test_all_lines_after_the_mark_and_none_before(
    lines: list[str], size: int, greeting: str
) -> None:
    text = greeting + MARK + "\n" + "".join(f"{line}\n" for line in lines)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert told(pieces) == lines


def test_a_last_line_without_an_end_and_one_that_never_ends() -> None:
    assert told([f"{MARK}\n", "one\ntw", "o"]) == ["one", "two"]
    assert [len(line) for line in told([f"{MARK}\n", "x" * (LONGEST_LINE + 1), "y\n"])] == [
        LONGEST_LINE + 1,
        1,
    ]
    assert told(["nothing but a greeting\n"]) == []
