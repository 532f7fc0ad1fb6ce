"""A fleet's plan in lines.

Belongs here: what of it is shown and how, by commands and screens. Does not belong here: finding
or making the changes (`oakctl.fleet`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from oakctl.fleet.plan import CREATE, FORGET, REGISTER, REMOVE, Change, Plan

SIGNS = {REGISTER: "+", CREATE: "+", REMOVE: "-", FORGET: "-"}


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
