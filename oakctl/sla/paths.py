"""How places in a descriptor are written: `applications[0].microservices[2].vcpus`.

Belongs here: paths and the short form of a value in a message. Does not belong here: findings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

LONGEST_VALUE = 60


def below(path: str, step: str | int) -> str:
    """The path of the member or element `step` of what is at `path`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def join(steps: Iterable[str | int], path: str = "") -> str:
    """The path that leads from `path` along `steps`."""
    for step in steps:
        path = below(path, step)
    return path


def shown(value: Any) -> str:
    """`value` as the file has it, short enough for a message; strings in single quotes."""
    if isinstance(value, str):
        text = repr(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
