from .conftest import Oakctl


def test_report_that_cannot_be_written_is_refused_before_anything_is_built(oakctl: Oakctl) -> None:
    ended = oakctl("demo", "--report", "/nowhere/at/all/report.json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: /nowhere/at/all is no directory\n\nhint: mkdir -p /nowhere/at/all\n"
    )


def test_seconds_are_a_duration(oakctl: Oakctl) -> None:
    ended = oakctl("demo", "--seconds", "soon")
    assert ended.code == 2
    assert "'soon' is not a duration" in ended.err
