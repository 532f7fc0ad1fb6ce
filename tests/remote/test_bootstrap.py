"""What is asked of a host before anything is done to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.errors import OakError
from oakctl.remote.bootstrap import require_clock
from oakctl.remote.facts import HostFacts

NOW = 1_000_000_000.0
HOST = HostFacts(asked_at=NOW)


@pytest.mark.parametrize("seconds", [-3600.0, 0.0, 3600.0])
def test_a_clock_may_be_some_hours_off(seconds: float) -> None:
    require_clock("pi-1", replace(HOST, clock=NOW + seconds))


@pytest.mark.parametrize("clock", [10.0, NOW - 90_000, NOW + 90_000])
def test_a_clock_by_which_no_certificate_is_valid(clock: float) -> None:
    with pytest.raises(OakError, match="its clock is wrong") as caught:
        require_clock("pi-1", replace(HOST, clock=clock))
    assert "@1000000000" in caught.value.hint
