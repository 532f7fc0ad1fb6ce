"""Finds and loads playbooks: ours, and the user's own.

A playbook is a Python file whose function `steps` gives the steps for one role or one idea.
Does not belong here: running steps (`runner`), or what they do (`playbooks/`).
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from oakctl import paths
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.remote import resources
from oakctl.remote.step import Step

# Playbooks that get what the root alone knows (credentials, addresses) → who runs them.
RUN_BY = {
    "bus": "oakctl cluster create",
    "cluster": "oakctl cluster create",
    "worker": "oakctl worker add",
}


def own_directory() -> Path:
    """Where the user's own playbooks lie."""
    return paths.config_directory() / "playbooks"


def directories() -> tuple[Path, ...]:
    """Where playbooks are looked for; the user's come first."""
    return own_directory(), resources.data("playbooks")


def load(name: str) -> ModuleType:
    """The playbook `name`, executed as a module of its own; raises NotFound, OakError."""
    for directory in directories():
        path = directory / f"{name}.py"
        # A name is a name: what looks like a path leads nowhere.
        if path.parent == directory and path.is_file():
            return _load_file(name, path)
    raise NotFound(f"there is no playbook {name}", hint="oakctl playbook ls")


def steps(name: str, settings: Mapping[str, str]) -> list[Step]:
    """The steps of `name`, its function `steps` called with `settings` as keywords.

    Raises NotFound, and UsageError when the settings are not what the playbook takes or the
    playbook is not one.
    """
    function = load(name).steps
    _check_settings(name, function, settings)
    try:
        found = list(function(**settings))
    except OakError:
        raise
    except Exception as error:  # what users write may raise anything; it is told as theirs
        raise UsageError(f"playbook {name}: {type(error).__name__}: {error}") from error
    if not all(isinstance(step, Step) for step in found):
        raise UsageError(f"playbook {name}: `steps` gave something that is not a Step")
    return found


def _check_settings(name: str, function: object, settings: Mapping[str, str]) -> None:
    assert callable(function)
    signature = inspect.signature(function)
    try:
        signature.bind(**settings)
    except TypeError as error:
        if name in RUN_BY:
            hint = f"it is run by `{RUN_BY[name]}` and `oakctl fleet apply`"
        else:
            hint = "give what it takes: " + " ".join(
                f"--set {key}=…" for key in signature.parameters
            )
        raise UsageError(f"playbook {name}: {error}", hint=hint) from error


def declared(path: Path) -> tuple[str, str]:
    """(before, after) as the file says at its top level; read, not run: looking runs nothing."""
    found = {"before": "", "after": ""}
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a playbook: {error}") from error
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id in found:
                found[target.id] = str(node.value.value)
    return found["before"], found["after"]


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oakctl_playbook_{name}", path)
    if spec is None or spec.loader is None:
        raise OakError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OakError:
        raise
    except Exception as error:  # what users write may raise anything; it is told as theirs
        raise UsageError(
            f"{path} does not load: {type(error).__name__}: {error}", hint=f"correct {path}"
        ) from error
    if not callable(getattr(module, "steps", None)):
        raise UsageError(f"{path} has no function `steps`", hint=f"correct {path}")
    return module
