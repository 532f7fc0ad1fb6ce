"""The user's own steps, put before or after what is ours.

A playbook in the user's folder that says `BEFORE = "worker.agent"` or `AFTER = "base"` at its top
is a hook: its steps run around that step, or around all steps of that playbook, in every plan that
has it. Does not belong here: where playbooks lie (`playbook`), what a file says (`outline`),
running steps (`runner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.errors import UsageError
from oakctl.remote import playbook
from oakctl.remote.outline import Outline
from oakctl.remote.step import Step


@dataclass(frozen=True)
class Hook:
    """The steps of one of the user's playbooks, and what of ours they go around."""

    name: str
    before: str  # "base", "worker.agent", or empty
    after: str
    steps: tuple[Step, ...]


def woven(plan: Sequence[Step]) -> list[Step]:
    """`plan` with the steps of the user's hooks; raises UsageError for a hook that is broken."""
    return weave(plan, found())


def weave(plan: Sequence[Step], hooks: Sequence[Hook]) -> list[Step]:
    """`plan` with the steps of `hooks` around what they name; hooks in their order."""
    result: list[Step] = []
    for at, step in enumerate(plan):
        first = at == 0 or plan[at - 1].playbook != step.playbook
        last = at == len(plan) - 1 or plan[at + 1].playbook != step.playbook
        for hook in hooks:
            if _names(hook.before, step, edge=first):
                result.extend(hook.steps)
        result.append(step)
        for hook in hooks:
            if _names(hook.after, step, edge=last):
                result.extend(hook.steps)
    return result


def _names(target: str, step: Step, *, edge: bool) -> bool:
    """Whether a hook on `target` belongs to this end of `step`."""
    if not target:
        return False
    return target == f"{step.playbook}.{step.name}" or (edge and target == step.playbook)


def found() -> list[Hook]:
    """Every hook of the user, by the name of its playbook; raises UsageError for a broken one."""
    outlines = playbook.outlines()
    own = [outline for outline in outlines if outline.own]
    for outline in own:
        # One that cannot be read may have been meant as a hook: better said than left out.
        if outline.fault:
            raise _unusable(outline, outline.fault)
    hooks = [outline for outline in own if outline.hook]
    for outline in hooks:
        for target in filter(None, (outline.before, outline.after)):
            _require_known(outline, target, outlines)
    return [
        Hook(each.name, each.before, each.after, tuple(playbook.steps(each.name, {})))
        for each in hooks
    ]


def around(outlines: Sequence[Outline]) -> dict[str, list[str]]:
    """Playbook → "mine after worker.agent": which of the user's hook on what of it."""
    result: dict[str, list[str]] = {}
    for outline in outlines:
        for word, target in (("before", outline.before), ("after", outline.after)):
            if target and not outline.fault:
                name = target.partition(".")[0]
                result.setdefault(name, []).append(f"{outline.name} {word} {target}")
    return result


def _require_known(hook: Outline, target: str, outlines: Sequence[Outline]) -> None:
    name, _, step = target.partition(".")
    there = next((each for each in outlines if each.name == name), None)
    if there is None:
        raise _unusable(hook, f"{hook.path}: there is no playbook {name!r} to hook on")
    names = [each.name for each in there.steps]
    if step and step not in names:
        raise _unusable(
            hook, f"{hook.path}: playbook {name} has no step {step!r}, but {', '.join(names)}"
        )


def _unusable(hook: Outline, reason: str) -> UsageError:
    return UsageError(
        f"the playbook {hook.name} cannot be used: {reason}", hint=f"mend or move {hook.path}"
    )
