"""Asking the root, and through it the hosts, how a fleet is.

Belongs here: collecting what the planner compares. Nothing is changed. Does not belong here: the
comparison (`fleet.planner`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from oakctl.client.root import RootClient
from oakctl.errors import OakError
from oakctl.fleet.state import Checked, Fault, Key, Seen, Wanted, worker_name
from oakctl.model.requests import PlanRequest
from oakctl.model.views import HostView, OperationView


async def look(
    root: RootClient, wanted: Wanted, *, limit: int, accept_new: Collection[str] = ()
) -> Seen:
    """What the root knows, and what each host of the file says to the steps of its roles.

    At most `limit` hosts are asked at a time; keys that are not known yet are trusted of those
    named in `accept_new`. A host that cannot be asked is a fault of its
    checks; raises what the root itself answers with.
    """
    known = await known_of(root)
    gate = asyncio.Semaphore(limit)

    async def ask(check: PlanRequest) -> Checked:
        async with gate:
            try:
                answer = await root.plan(check)
            except OakError as error:
                fault = Fault(
                    check.host, error.message, error.hint, int(error.exit_code), error.details
                )
                return Checked(fault=fault)
        restarts = tuple(step for step in answer.steps if step.reboots)
        return Checked(answer.missing, restarts=restarts)

    wanted_checks = dict(_checks(wanted, accept_new))
    answers = await asyncio.gather(*(ask(check) for check in wanted_checks.values()))
    checks = dict(zip(wanted_checks, answers, strict=True))
    return Seen(known.hosts, known.clusters, known.workers, checks)


async def known_of(root: RootClient) -> Seen:
    """What the root knows, with no host asked."""
    hosts, clusters, workers = await asyncio.gather(root.hosts(), root.clusters(), root.workers())
    return Seen(tuple(hosts), tuple(clusters), tuple(workers))


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


def _checks(wanted: Wanted, accept_new: Collection[str]) -> list[tuple[Key, PlanRequest]]:
    hosts = {host.name: host for host in wanted.hosts}
    found: list[tuple[Key, PlanRequest]] = []
    for cluster in wanted.clusters:
        check = _reached(
            hosts[cluster.host], accept_new, PlanRequest(cluster.host, cluster=cluster)
        )
        found.append((("cluster", cluster.name), check))
    for worker in wanted.workers:
        check = _reached(hosts[worker.host], accept_new, PlanRequest(worker.host, worker=worker))
        found.append((("worker", worker_name(worker)), check))
    return found


def _reached(host: HostView, accept_new: Collection[str], check: PlanRequest) -> PlanRequest:
    return PlanRequest(
        host=host.name,
        cluster=check.cluster,
        worker=check.worker,
        address=host.address,
        port=host.port,
        user=host.user,
        identity_file=host.identity_file,
        jump=host.jump,
        accept_new=host.name in accept_new,
    )
