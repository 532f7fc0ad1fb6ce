import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from oakctl.cli.grammar import duration, location
from oakctl.cli.host import destination
from oakctl.cli.ssh import arguments
from oakctl.model.resources import Location
from oakctl.model.views import HostView


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2m", 120),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("7", 7),
        ("1.5", 1.5),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1x", "1s2", "one minute", "nan", "inf", "1 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        duration(text)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


def test_locations() -> None:
    assert location("48.2, 11.5") == Location(48.2, 11.5)
    for text in ("48.2", "1,2,3", "x,y", "91,0", "0,181", "nan,0"):
        with pytest.raises(typer.BadParameter):
            location(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pi@10.0.0.1", ("pi", "10.0.0.1", 22)),
        ("pi@10.0.0.1:2222", ("pi", "10.0.0.1", 2222)),
        ("host.example.org", ("", "host.example.org", 22)),
        ("me@[fe80::1]:2022", ("me", "fe80::1", 2022)),
    ],
)
def test_destinations(text: str, parts: tuple[str, str, int]) -> None:
    assert destination(text) == parts


@pytest.mark.parametrize("text", ["", "a b", "pi@", "pi@host:0", "pi@host:99999", "pi@host:x", "@"])
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        destination(text)


def test_ssh_gets_each_word_as_one_word() -> None:
    host = HostView("pi", "10.0.0.1", 2222, "me", "/key", ("a@b:1", "c@d:2"))
    found = arguments(host, ("echo", "two words; rm x"))
    assert found[-3:] == ["--", "10.0.0.1", "echo 'two words; rm x'"]
    assert found[found.index("-l") + 1] == "me"
    assert arguments(HostView("pi", "x"), ())[-2:] == ["--", "x"]
