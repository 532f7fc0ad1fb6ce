import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.resources import Resources
from oakctl.tui.viewmodels import words


@given(st.text(), st.integers(1, 50))
def test_clean_text_is_one_harmless_line(text: str, longest: int) -> None:
    shown = words.clean(text, longest)
    assert "\n" not in shown
    assert all(
        character.isprintable() or character == "\u2028" or ord(character) > 127
        for character in shown
    )
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_clean_says_how_much_it_left_out() -> None:
    assert words.clean("x" * 100, 10) == "x" * 10 + "… (+90 characters)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59, "59s"),
        (200, "3m20s"),
        (18120, "5h02m"),
        (864000, "10d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_age_of_nothing_is_never() -> None:
    assert words.age(0, 100) == "never"
    assert words.age(105, 100) == "0s"
    assert words.age(97.4, 100) == "2s"


def test_amounts_name_every_unit_and_nothing_is_a_dash() -> None:
    assert words.amounts(Resources()) == "-"
    assert words.amounts(Resources(0.25, 64, 0, 1, 2)) == "0.25 vcpus, 64 MiB, 1 vgpu, 2 vtpus"
    assert words.amounts(Resources(memory_mb=16384)) == "16 GiB"


def test_short_names() -> None:
    assert words.short_instance("ar.default.Rec.default.instance.3") == "Rec.3"
    assert words.short_instance("whatever") == "whatever"
