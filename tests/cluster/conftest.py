"""Fixtures of the cluster's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.rig import Rig, running_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A running cluster without workers."""
    async with running_rig(tmp_path) as up:
        yield up
