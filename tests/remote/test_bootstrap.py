"""What is asked of a host before anything is done to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.errors import OakError
from oakctl.remote.bootstrap import require_clock
from oakctl.remote.equipment import Install
from oakctl.remote.facts import HostFacts
from oakctl.remote.residence import SYSTEM, USER, Homeless, Residence, choose, where_to_remove

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


PI = HostFacts(user="pi", home="/home/pi", init="systemd", user_manager=True)
AT_HOME = Install("/home/pi/.oakctl", recorded=("worker",))
HIDDEN = Install("/opt/oakctl", readable=False)
LEFT = Install("/home/pi/.oakctl")  # a folder of that name, and nothing recorded


def home(**changes: object) -> Residence | Homeless:
    return choose(replace(PI, **changes))  # type: ignore[arg-type]


def test_rights_that_came_later_make_no_second_home() -> None:
    found = home(privilege="sudo", installs=(AT_HOME,))
    assert isinstance(found, Residence)
    assert (found.supervisor, found.prefix) == (USER, AT_HOME.prefix)
    found = home(privilege="sudo", installs=(LEFT,))
    assert isinstance(found, Residence)
    assert found.supervisor == SYSTEM


@pytest.mark.parametrize(
    ("privilege", "installs", "prefix"),
    [
        ("", (), "/home/pi/.oakctl"),
        ("", (AT_HOME,), AT_HOME.prefix),
        ("sudo", (AT_HOME,), AT_HOME.prefix),
        ("sudo", (LEFT,), "/opt/oakctl"),
        ("sudo", (replace(HIDDEN, readable=True, recorded=("cluster",)),), "/opt/oakctl"),
    ],
)
def test_it_is_removed_from_where_it_is(
    privilege: str, installs: tuple[Install, ...], prefix: str
) -> None:
    facts = replace(PI, privilege=privilege, installs=installs)
    found = where_to_remove("pi-1", facts, choose(facts))
    assert found is not None
    assert found.prefix == prefix


def test_what_is_out_of_reach_is_not_said_to_be_removed() -> None:
    facts = replace(PI, installs=(HIDDEN,))
    with pytest.raises(OakError, match="/opt/oakctl, and is not to be reached as pi") as caught:
        where_to_remove("pi-1", facts, choose(facts))
    assert caught.value.hint
    nowhere = Homeless("process 1 is tini", "use another host")
    with pytest.raises(OakError, match="not to be reached"):
        where_to_remove("pi-1", facts, nowhere)
    assert where_to_remove("pi-1", PI, nowhere) is None
