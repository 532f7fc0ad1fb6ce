"""A stage for whole tests of the root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.root.stage import Stage


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Buses and clusters, taken down at the end."""
    made = Stage(tmp_path)
    yield made
    await made.close()
