"""Labs of both kinds side by side: taking one away leaves the other, and what no lab owns goes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oakctl.lab import labs, loopback, processes
from oakctl.lab.loopback import Lab, LabHost
from oakctl.lab.machines import image
from oakctl.lab.machines import lab as machines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="machine labs are root's")

NAME = "lt"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A loopback lab, whose keeper runs."""
    try:
        yield await loopback.up(NAME, [LabHost("h1")])
    finally:
        await loopback.down(NAME)


@pytest.fixture
def draft() -> Path:
    """What a build of a base image left that was killed."""
    left = image.directory() / ".bookworm-0.new"
    (left / "usr").mkdir(parents=True)
    return left


async def test_a_loopback_lab_has_its_files_until_its_keeper_has_ended(
    lab: Lab, draft: Path
) -> None:
    """Its keeper reads and writes them; a build that was interrupted is no sign of a lab."""
    seen: dict[str, bool] = {}

    def progress(line: str) -> None:
        seen[line] = (lab.directory / "lab.json").exists()

    await labs.down(NAME, progress)

    assert seen == {f"lab {NAME}: ending its processes": True} | {
        f"lab {NAME}: taking away its files": True
    }
    assert processes.of_lab(lab.id) == []
    assert not lab.directory.exists()
    assert not draft.exists()


async def test_what_is_left_of_machines_goes_and_a_loopback_lab_of_that_name_stays(
    lab: Lab, draft: Path
) -> None:
    assert not machines.is_there(NAME)

    await machines.down(NAME)

    assert loopback.load(NAME) == lab
    assert lab.keeper
    assert not draft.exists()
