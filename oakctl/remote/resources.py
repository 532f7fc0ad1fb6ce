"""Finds what ships beside the code: the playbooks and the examples.

In a checkout they lie beside the package, in a wheel inside it (`oakctl/_data`). Does not
belong here: the user's own playbooks (`remote.playbook`).
"""

from __future__ import annotations

from pathlib import Path

import oakctl
from oakctl.errors import OakError

PACKAGE = Path(oakctl.__file__).resolve().parent


def data(name: str) -> Path:
    """The directory (or file) `name` that ships with oakctl; raises OakError when it is missing."""
    for candidate in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if candidate.exists():
            return candidate
    raise OakError(
        f"{name} is missing from this installation of oakctl ({PACKAGE})",
        hint="pip install --force-reinstall oakctl",
    )
