"""Policies from other packages: entry points of the group `oakctl.policies`.

The only module of this room that reads anything (the metadata of installed packages). In the
node archive there are none. An entry point names a function `(spec, candidate) -> Score`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "oakctl.policies"


@lru_cache(maxsize=1)
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def names() -> tuple[str, ...]:
    """Names of the policies that installed packages bring, in alphabetical order."""
    return tuple(sorted(_found()))


def load(name: str) -> Any:
    """The function behind an entry point; raises KeyError, or what its import raises."""
    return _found()[name].load()
