"""Finds and loads playbooks: ours, and the user's own.

A playbook is a Python file whose function `steps` gives the steps for one role or one idea.
Does not belong here: running steps (`runner`), or what they do (`playbooks/`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from oakctl import paths
from oakctl.errors import NotFound, OakError
from oakctl.remote import resources


def directories() -> tuple[Path, ...]:
    """Where playbooks are looked for; the user's come first."""
    return paths.config_directory() / "playbooks", resources.data("playbooks")


def load(name: str) -> ModuleType:
    """The playbook `name`, executed as a module of its own; raises NotFound, OakError."""
    for directory in directories():
        path = directory / f"{name}.py"
        if path.is_file():
            return _load_file(name, path)
    raise NotFound(f"there is no playbook {name}", hint="oakctl playbook ls")


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oakctl_playbook_{name}", path)
    if spec is None or spec.loader is None:
        raise OakError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    # The file may be the user's own, with any mistake in it.
    except Exception as error:
        raise OakError(
            f"{path} does not load: {type(error).__name__}: {error}", hint=f"correct {path}"
        ) from error
    if not callable(getattr(module, "steps", None)):
        raise OakError(f"{path} has no function `steps`", hint=f"correct {path}")
    return module
