"""Fixtures of the overlay's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .relay_host import RelayHost, free_number


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RelayHost]:
    """A host of its own, whose relay is not started yet."""
    with free_number() as number:
        made = RelayHost(tmp_path / "prefix", number)
        yield made
        made.close()
