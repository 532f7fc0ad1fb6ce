"""A plan, its progress and its outcome in lines.

Belongs here: what of a fleet's plan is shown and how. Does not belong here: the commands
(`cli.fleet`), finding or making the changes (`oakctl.fleet`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from oakctl.cli.diagnostics import say
from oakctl.errors import OakError, error_for
from oakctl.fleet.applier import Outcome
from oakctl.fleet.plan import CREATE, FORGET, REGISTER, REMOVE, Change, Plan
from oakctl.fleet.state import Fault
from oakctl.model import wire
from oakctl.model.views import StepEvent

SIGNS = {REGISTER: "+", CREATE: "+", REMOVE: "-", FORGET: "-"}
DONE = {
    "register": "is known",
    "create": "is ready",
    "carry on": "is ready",
    "change": "is changed",
    "upgrade": "runs from the new release",
    "repair": "is repaired",
    "replace": "is replaced",
    "remove": "is removed",
    "forget": "is forgotten",
}


def plan_lines(plan: Plan, *, steps: bool) -> Iterator[str]:
    """The plan, a paragraph for each host; with `steps` also each step of what is new."""
    by_host = sorted(plan.changes, key=lambda change: change.host)
    for host, changes in groupby(by_host, key=lambda change: change.host):
        yield f"{host}:"
        for change in changes:
            yield from _change_lines(change, steps)
    for step in plan.restarts:
        word = "restarts" if step.state == "planned" else "a restart is needed"
        yield f"{step.host}: {word}: {step.step}: {step.message}"
    if plan.extras:
        yield "not in the file, and kept (--prune removes it):"
        yield from (f"  {change.kind} {change.name}" for change in plan.extras)
    if plan.left:
        yield "not as the file says, and kept so (oakctl fleet apply changes it):"
        for change in plan.left:
            what = "; ".join(change.differences) or change.action
            yield f"  {change.kind} {change.name}: {what}"
    yield from _finding_lines(plan, everything=steps)
    for fault in plan.faults:
        yield f"not looked at: {fault.message}"
        yield from (f"    {detail}" for detail in fault.details)
        if fault.hint:
            yield f"    hint: {fault.hint}"
    yield summary(plan)


def _finding_lines(plan: Plan, *, everything: bool) -> Iterator[str]:
    """What stands in the way on hosts; notes only where everything is shown."""
    # What kept a host from being looked at, or used, is told as that.
    silent = {fault.host for fault in plan.faults}
    for found in plan.findings:
        told = found.severity != "note" or everything
        if told and not (found.host in silent and found.severity == "block"):
            yield f"{found.host}: {found.severity}: {found.topic}: {found.message}"
            if found.remedy:
                yield f"    remedy: {found.remedy}"


def _change_lines(change: Change, steps: bool) -> Iterator[str]:
    yield f"  {SIGNS.get(change.action, '~')} {change.action} {change.kind} {change.name}"
    yield from (f"      {difference}" for difference in change.differences)
    if change.blocked:
        yield f"      not possible: {change.blocked}" + (f" ({change.hint})" if change.hint else "")
    elif change.steps and (steps or change.action not in (CREATE,)):
        yield from (f"      {step}" for step in change.steps)
    elif change.steps:
        yield f"      {len(change.steps)} steps"


def summary(plan: Plan) -> str:
    """`5 to create, 1 to change, 0 to remove, 3 as described`; or that there is nothing to do."""
    if plan.is_empty and plan.left:
        kept = f"{len(plan.left)} {'is' if len(plan.left) == 1 else 'are'} not as described"
        return f"no upgrades: {plan.unchanged} hosts, clusters and workers are as described, {kept}"
    if plan.is_empty:
        return f"no changes: {plan.unchanged} hosts, clusters and workers are as described"
    new = sum(change.action in (REGISTER, CREATE) for change in plan.changes)
    gone = sum(change.action in (REMOVE, FORGET) for change in plan.changes)
    changed = len(plan.changes) - new - gone
    text = f"{new} to create, {changed} to change, {gone} to remove, {plan.unchanged} as described"
    return text + (f", {len(plan.faults)} not looked at" if plan.faults else "")


@dataclass
class Progress:
    """Tells how it goes: on a terminal each host with its phases, else a line per change."""

    detailed: bool = field(default_factory=lambda: bool(sys.stderr and sys.stderr.isatty()))
    _phases: dict[str, dict[str, str]] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)

    def begun(self, change: Change) -> None:
        """See `fleet.applier.Observer`."""
        if self.detailed and change.kind != "host":
            say(f"{change.host}: {change.action} {change.kind} {change.name}")

    def step(self, change: Change, step: StepEvent) -> None:
        """See `fleet.applier.Observer`."""
        phase = step.step.partition(":")[0]
        phases = self._phases.setdefault(step.host, {})
        phases[phase] = "failed" if step.state == "failed" else _so_far(step)
        line = _matrix_line(step.host, phases, phase)
        if self.detailed and self._told.get(step.host) != line:
            self._told[step.host] = line
            say(line)

    def ended(self, change: Change, error: OakError | None) -> None:
        """See `fleet.applier.Observer`."""
        self._phases.pop(change.host, None)
        if error is None:
            say(f"{change.kind} {change.name} {DONE[change.action]}")
        else:
            say(f"{change.kind} {change.name} failed: {error.message}")


def _so_far(step: StepEvent) -> str:
    """`3/12 MiB` of an upload that goes on."""
    if not step.total_bytes:
        return "…"
    return f"{step.done_bytes >> 20}/{step.total_bytes >> 20} MiB"


def _matrix_line(host: str, phases: dict[str, str], current: str) -> str:
    """`edge-w1: base ✓  worker …`."""
    marks = (
        f"{name} {mark if name == current or mark == 'failed' else '✓'}"
        for name, mark in phases.items()
    )
    return f"{host}: {'  '.join(marks)}"


def failure_of(plan: Plan, outcome: Outcome, again: str) -> OakError | None:
    """What did not come about, with what to type next; None when everything did."""
    failed = outcome.failed
    reported = {failure.change.host for failure in failed}
    unseen = [fault for fault in plan.faults if fault.host not in reported]
    if not failed and not unseen:
        return None
    details = [*_failure_lines(outcome), *(line for f in unseen for line in _fault_lines(f))]
    parts = []
    if failed:
        total = len(outcome.done) + len(failed)
        parts.append(f"{len(failed)} of {total} changes failed")
    if unseen:
        some = f"{len(unseen)} host{'' if len(unseen) == 1 else 's'}"
        parts.append(f"{some} could not be looked at")
    code = outcome.exit_code or unseen[0].exit_code
    hint = f"{again} carries on when that is mended"
    return error_for(code, "; ".join(parts), hint, tuple(details))


def result(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What became of a plan, for programs."""
    failed = [
        {
            "change": wire.to_plain(failure.change),
            "error": failure.error.message,
            "hint": failure.error.hint,
            "details": list(failure.error.details),
            "exit_code": int(failure.error.exit_code),
        }
        for failure in outcome.failed
    ]
    done = [wire.to_plain(change) for change in outcome.done]
    return {
        "done": done,
        "failed": failed,
        "faults": [wire.to_plain(fault) for fault in plan.faults],
        "left": [wire.to_plain(change) for change in plan.left],
        "unchanged": plan.unchanged,
    }


def _failure_lines(outcome: Outcome) -> Iterator[str]:
    for failure in outcome.failed:
        change, error = failure.change, failure.error
        yield f"{change.kind} {change.name}: {error.message}"
        yield from (f"  {detail}" for detail in error.details)
        if error.hint:
            yield f"  next: {error.hint}"


def _fault_lines(fault: Fault) -> Iterator[str]:
    yield fault.message
    if fault.hint:
        yield f"  next: {fault.hint}"
