"""Where we would live on a host, why there, and all that is missing where we cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oakctl.errors import OakError
from oakctl.remote.residence import SYSTEM, USER, Homeless, Residence, choose, require_usable
from tests.remote.field.reported import PI, ROOM


@pytest.mark.parametrize(
    ("changes", "supervisor", "prefix"),
    [
        ({"privilege": "root", "uid": 0}, SYSTEM, "/opt/oakctl"),
        ({}, SYSTEM, "/opt/oakctl"),
        ({"privilege": "", "user_manager": True}, USER, "/home/pi/.oakctl"),
        (
            {"privilege": "sudo-password", "groups": ("pi",), "user_manager": True},
            USER,
            "/home/pi/.oakctl",
        ),
        ({"supervisor": "plain:/s"}, "plain", "/home/pi/.oakctl"),
    ],
)
def test_residence_and_its_reason(changes: dict[str, Any], supervisor: str, prefix: str) -> None:
    chosen = choose(replace(PI, **changes))
    assert isinstance(chosen, Residence)
    assert (chosen.supervisor, chosen.prefix) == (supervisor, prefix)
    assert chosen.reason
    assert require_usable("pi-1", replace(PI, **changes), chosen) == chosen


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "busybox", "supervisor": ""},
        {"systemd_version": 237},
        {"privilege": ""},
        {"privilege": "doas-password"},
    ],
)
def test_no_residence_says_what_to_do(changes: dict[str, Any]) -> None:
    chosen = choose(replace(PI, **changes))
    assert isinstance(chosen, Homeless)
    with pytest.raises(OakError) as caught:
        require_usable("pi-1", replace(PI, **changes), chosen)
    assert caught.value.hint


def test_all_that_is_missing_is_said_at_once() -> None:
    bad = replace(PI, opt=replace(ROOM, free_mb=1, inodes_free=5, options=("ro",)))
    with pytest.raises(OakError) as caught:
        require_usable("pi-1", bad, choose(bad))
    said = [caught.value.message, *caught.value.details]
    assert len(said) == 3
    for words in ("read-only", "1 MiB", "5 inodes"):
        assert any(words in each for each in said)
