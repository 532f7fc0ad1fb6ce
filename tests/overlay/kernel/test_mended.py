"""What others changed is told for a while after it was made good."""

from __future__ import annotations

from oakctl.overlay.kernel import mended


def test_it_is_told_with_the_time_and_how_often_until_it_is_long_ago() -> None:
    known = mended.remembered({}, ("the table was changed",), 0.0, 100.0)
    assert mended.told(known) == ("the table was changed (at 1970-01-01 00:00:00 UTC)",)
    # The clock was set meanwhile, which makes nothing last for ever.
    known = mended.remembered(known, ("the table was changed",), 86400.0, 110.0)
    (line,) = mended.told(known)
    assert line == "the table was changed (2 times, last at 1970-01-02 00:00:00 UTC)"
    assert mended.remembered(known, (), -5.0, 110.0 + mended.TOLD_S - 1) == known
    assert mended.remembered(known, (), -5.0, 110.0 + mended.TOLD_S) == {}
