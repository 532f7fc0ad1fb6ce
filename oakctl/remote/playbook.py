"""Finds and loads playbooks: ours, and the user's own.

A playbook is a Python file for one role or one idea:

- Its docstring says what it does; the first line is what lists show.
- `steps(…)` gives its steps (`step.Step`). It is called to show a plan, too, so it speaks to no
  host: what depends on that is asked in `check` and `apply`. Settings come as keywords, and are
  texts; the playbooks of roles (`RUN_BY`) take one argument, from the root.
- `undo()`, in one that changes something outside of our folder, gives the steps that put it back.
  It takes nothing: what to put back is in the entry that `changes.record` got before the change.
  They run with the host's last role, under the same rules as any step. The last thing they do is
  `changes.forget`: also where something has to stay, which the word that `apply` returns says. What
  cannot be found out stays.
- `BEFORE` or `AFTER`, a text at its top, makes a hook of one in the user's folder (`hooks`).

Does not belong here: running steps (`runner`), or what they do (`playbooks/`).
"""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from oakctl import paths
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.remote import outline, resources
from oakctl.remote.outline import Outline
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
    module = load(name)
    _check_settings(name, module.steps, settings)
    return _made(name, module, lambda: module.steps(**settings))


def steps_for(name: str, inputs: object) -> list[Step]:
    """As `steps`, for the playbooks of roles, which take what the root knows."""
    module = load(name)
    return _made(name, module, lambda: module.steps(inputs))


def _made(name: str, module: ModuleType, make: Callable[[], Iterable[Step]]) -> list[Step]:
    path = module.__file__ or name
    try:
        found = list(make())
    except OakError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, path, mistake(error)) from error
    if not all(isinstance(step, Step) for step in found):
        raise _broken(name, path, f"{path}: `steps` gave something that is not a Step")
    return [
        replace(step, playbook=step.playbook or name, name=step.name or outline.slug(step.title))
        for step in found
    ]


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


def outlines() -> list[Outline]:
    """Every playbook by name, as its file says; of two with one name the user's is in force."""
    found = [
        outline.read(path, own=directory == own_directory())
        for directory in directories()
        for path in sorted(directory.glob("*.py"))
        if not path.name.startswith("_")
    ]
    return sorted(found, key=lambda each: (each.name, not each.own))


def mistake(error: BaseException) -> str:
    """`FILE, line 7: ZeroDivisionError: …`: where in a playbook an error comes from."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}"
    ours = {str(directory) for directory in directories()}
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if str(Path(frame.filename).parent) in ours]
    return f"{lines[-1].filename}, line {lines[-1].lineno}: {what}" if lines else what


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oakctl_playbook_{name}", path)
    if spec is None or spec.loader is None:
        raise OakError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OakError:
        raise
    # What users write may raise anything, and may even want to end the program.
    except (Exception, SystemExit) as error:
        raise _broken(name, path, mistake(error)) from error
    if not callable(getattr(module, "steps", None)):
        raise _broken(name, path, f"{path}: it has no function `steps`")
    return module


def _broken(name: str, path: Path | str, reason: str) -> UsageError:
    return UsageError(f"the playbook {name} cannot be used: {reason}", hint=f"mend or move {path}")
