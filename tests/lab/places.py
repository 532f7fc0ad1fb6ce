"""Labs of real hosts for tests: directories of their own, base images from the user's cache.

Belongs here: what every test that boots hosts does the same way. Does not belong here: whether
they can be booted (`requirements`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oakctl import paths
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines.lab_file import LabPlan


@contextmanager
def places(folder: Path) -> Iterator[Path]:
    """A home, a configuration and a state in `folder`, whose `state` is given."""
    cache = paths.cache_directory().parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        (folder / "home").mkdir()
        yield folder / "state"


@contextmanager
def machine_lab(name: str, plan: LabPlan, folder: Path) -> Iterator[machines.Lab]:
    """Freshly laid out hosts, gone afterwards."""
    with places(folder):
        try:
            yield asyncio.run(machines.up(name, plan, print))
        finally:
            asyncio.run(machines.down(name, print))
