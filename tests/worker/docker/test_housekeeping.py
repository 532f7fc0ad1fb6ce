"""Which images go."""

from __future__ import annotations

from oakctl.orchestration.worker.docker import (
    housekeeping,
)
from oakctl.orchestration.worker.docker.housekeeping import Brought, Ledger


def test_images_go_by_age_and_by_pressure() -> None:
    ledger = Ledger((Brought("old:1", "1"), Brought("new:1", "2"), Brought("used:1", "3")))
    ledger = housekeeping.noted(ledger, {"new:1", "used:1"}, 1000.0)
    ledger = housekeeping.noted(ledger, {"used:1"}, 5000.0)

    def going(now: float, free: float) -> list[str]:
        return [image.reference for image in housekeeping.removable(ledger, now, free)]

    day = housekeeping.KEEP_UNUSED_S
    assert going(6000.0, 0.5) == []
    assert going(1000.0 + day, 0.5) == ["old:1"]
    assert going(5000.0 + day, 0.5) == ["old:1", "new:1"]
    assert going(6000.0, 0.05) == ["old:1"]
    assert going(1001.0, 0.05) == []
    again = housekeeping.noted(ledger, {"old:1", "new:1", "used:1"}, 9000.0)
    assert housekeeping.removable(again, 9000.0 + 9 * day, 0.0) == ()


def test_ledger_knows_what_we_brought() -> None:
    ledger = Ledger().with_image("a:1", "1").with_image("b:1", "2").with_image("a:1", "3")
    assert ledger.has("a:1")
    assert not ledger.has("c:1")
    nameless = Brought("1", "1")
    assert ledger.images == (nameless, Brought("b:1", "2"), Brought("a:1", "3"))
    assert nameless.nameless
    assert ledger.without("a:1").images == (nameless, Brought("b:1", "2"))
    named = ledger.with_image("c:1", "1").images
    assert named[-1] == Brought("c:1", "1"), "it has a name again"
    assert nameless not in named
