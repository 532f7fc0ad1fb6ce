"""Asking the root, and through it the hosts, how a fleet is.

Belongs here: collecting what the planner compares. Nothing is changed. Does not belong here: the
comparison (`fleet.planner`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from oakctl.client.root import RootClient
from oakctl.fleet.planner import as_asked
from oakctl.fleet.state import Checked, Fault, Key, Seen, Wanted, worker_name
from oakctl.model.requests import LookRequest, PlanRequest
from oakctl.model.views import HostPlan, OperationView


async def look(root: RootClient, wanted: Wanted, *, accept_new: Collection[str] = ()) -> Seen:
    """What the root knows, and what each host of the file is and says to the steps of its roles.

    Keys that are not known yet are trusted of the hosts named in `accept_new`. A host that cannot
    be asked is a fault of its checks; raises what the root itself answers with.
    """
    asked = dict(_plans(wanted, accept_new))
    known, seen = await asyncio.gather(
        known_of(root), root.look(LookRequest(tuple(asked.values())))
    )
    checks = {key: _checked(plan) for key, plan in zip(asked, seen.plans, strict=True)}
    check = seen.check
    return Seen(
        known.hosts,
        known.clusters,
        known.workers,
        checks,
        findings=check.findings,
        release=seen.release,
        asks_password=check.asks_password,
        machines=check.machines,
    )


async def known_of(root: RootClient) -> Seen:
    """What the root knows, with no host asked."""
    hosts, clusters, workers = await asyncio.gather(root.hosts(), root.clusters(), root.workers())
    return Seen(tuple(hosts), tuple(clusters), tuple(workers))


def as_wanted(seen: Seen) -> Wanted:
    """What there is, as a file would ask for it."""
    workers = tuple(each.asked for each in seen.workers if each.asked is not None)
    return Wanted(seen.hosts, tuple(as_asked(each) for each in seen.clusters), workers)


async def settle(
    root: RootClient, wanted: Wanted, told: Callable[[OperationView], Awaitable[None]]
) -> None:
    """Wait for work on this fleet that an earlier call began and left; how it ends is seen later.

    `told` is awaited with each such operation, to follow it.
    """
    mine = {f"cluster {each.name}" for each in wanted.clusters}
    mine |= {f"worker {worker_name(each)}" for each in wanted.workers}
    running = [each for each in await root.operations() if each.state == "running"]
    await asyncio.gather(*(told(each) for each in running if each.subject in mine))


def _plans(wanted: Wanted, accept_new: Collection[str]) -> list[tuple[Key, PlanRequest]]:
    asked = {
        host.name: PlanRequest(
            host=host.name,
            address=host.address,
            port=host.port,
            user=host.user,
            identity_file=host.identity_file,
            jump=host.jump,
            accept_new=host.name in accept_new,
        )
        for host in wanted.hosts
    }
    found: list[tuple[Key, PlanRequest]] = [
        *(
            (("cluster", each.name), replace(asked[each.host], cluster=each))
            for each in wanted.clusters
        ),
        *(
            (("worker", worker_name(each)), replace(asked[each.host], worker=each))
            for each in wanted.workers
        ),
    ]
    busy = {request.host for _, request in found}
    return found + [(("host", name), asked[name]) for name in asked if name not in busy]


def _checked(plan: HostPlan) -> Checked:
    if plan.fault:
        return Checked(fault=Fault(plan.host, plan.fault, plan.hint, plan.exit_code, plan.details))
    return Checked(plan.missing, restarts=tuple(step for step in plan.steps if step.reboots))
