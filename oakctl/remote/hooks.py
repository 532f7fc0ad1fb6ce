"""The user's own steps, put before or after a step of ours.

A playbook in the user's folder that says `before = "TITLE"` or `after = "TITLE"` is a hook: its
steps run around the step of that title, in every plan that has it. Does not belong here: where
playbooks lie (`playbook`), running steps (`runner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.errors import OakError, UsageError
from oakctl.remote import playbook
from oakctl.remote.step import Step


@dataclass(frozen=True)
class Hook:
    """The steps of one of the user's playbooks, and the titles of ours that they go around."""

    name: str
    before: str
    after: str
    steps: tuple[Step, ...]


def woven(plan: Sequence[Step]) -> list[Step]:
    """`plan` with the steps of the user's hooks; raises UsageError for a hook that is broken."""
    return weave(plan, found())


def weave(plan: Sequence[Step], hooks: Sequence[Hook]) -> list[Step]:
    """`plan` with the steps of `hooks` around the steps they name; hooks in their order."""
    result: list[Step] = []
    for step in plan:
        for hook in hooks:
            result.extend(hook.steps if hook.before == step.title else ())
        result.append(step)
        for hook in hooks:
            result.extend(hook.steps if hook.after == step.title else ())
    return result


def found() -> list[Hook]:
    """Every hook of the user, by the name of its playbook."""
    hooks = []
    for path in sorted(playbook.own_directory().glob("*.py")):
        if path.name.startswith("_"):
            continue
        before, after = playbook.declared(path)
        if before or after:
            hooks.append(Hook(path.stem, before, after, tuple(_steps(path.stem))))
    return hooks


def _steps(name: str) -> list[Step]:
    try:
        return playbook.steps(name, {})
    except OakError as error:
        raise UsageError(
            f"the hook {name} cannot be used: {error.message}",
            hint=f"mend or move {playbook.own_directory() / name}.py",
            details=error.details,
        ) from error
