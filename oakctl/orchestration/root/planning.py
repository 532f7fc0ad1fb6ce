"""What would be done to hosts, asked without changing anything, here or there.

Belongs here: from what is to be planned to the inputs that a real run would get, as far as they
are known, and every host asked once. Does not belong here: doing it (`root.bootstrap`), the steps
(`oakctl.remote`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sqlite_utils import Database

from oakctl.errors import OakError, UsageError
from oakctl.model.config import BUS_PORT
from oakctl.model.requests import ClusterCreate, LookRequest, PlanRequest, WorkerAdd
from oakctl.model.views import FleetLook, HostPlan, HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.bootstrap import cluster_inputs, hub_of, worker_inputs
from oakctl.orchestration.root.checking import Checking, side_by_side, unheeded
from oakctl.orchestration.root.installer import Installer, Role
from oakctl.orchestration.root.means import release_here
from oakctl.orchestration.root.store import fleet
from oakctl.orchestration.root.store.database import Store
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, Survey, WorkerInputs


async def look(
    store: Store, installer: Installer, checking: Checking, request: LookRequest
) -> FleetLook:
    """The steps of each run, each with whether it holds already, and what the hosts are.

    A host that cannot be asked is a fault of its plans; raises what is wrong with the request.
    """
    by_host: dict[str, list[PlanRequest]] = {}
    for plan in request.plans:
        by_host.setdefault(plan.host, []).append(plan)
    hosts = [await store.run(_host_of(plans[0])) for plans in by_host.values()]
    roles = {
        name: [await store.run(_role_of(plan)) for plan in plans if _is_of_a_role(plan)]
        for name, plans in by_host.items()
    }

    def ask(host: HostView) -> Survey | OakError:
        trusted = any(plan.accept_new for plan in by_host[host.name])
        try:
            return installer.survey(host, trusted, roles[host.name])
        except OakError as error:
            return error

    answers = await side_by_side(hosts, ask)
    facts = [answer.facts if isinstance(answer, Survey) else answer for answer in answers]
    shown = {
        id(plan): shown
        for plans, answer in zip(by_host.values(), answers, strict=True)
        for plan, shown in zip(plans, _plans(plans, answer), strict=True)
    }
    plans = tuple(shown[id(plan)] for plan in request.plans)
    wanted = _to_reach(request.plans, plans)
    trusted = any(plan.accept_new for plan in request.plans)
    tried = await checking.reach(hosts, facts, wanted, trusted)
    remarks = await asyncio.to_thread(unheeded, hosts)
    return FleetLook(
        plans,
        checking.findings(hosts, facts, [*tried, *remarks]),
        await asyncio.to_thread(release_here),
    )


def _to_reach(
    asked: Sequence[PlanRequest], plans: Sequence[HostPlan]
) -> dict[str, tuple[str, ...]]:
    """Orchestrator's host → hosts that are to become its workers and are none yet."""
    hubs = {plan.cluster.name: plan.host for plan in asked if plan.cluster is not None}
    found: dict[str, tuple[str, ...]] = {}
    for request, plan in zip(asked, plans, strict=True):
        if request.worker is None or not plan.missing or request.worker.cluster not in hubs:
            continue
        hub = hubs[request.worker.cluster]
        found[hub] = (*found.get(hub, ()), request.host)
    return found


def _plans(plans: Sequence[PlanRequest], answer: Survey | OakError) -> list[HostPlan]:
    outcomes = iter(answer.plans if isinstance(answer, Survey) else ())
    shown = []
    for plan in plans:
        if isinstance(answer, OakError):
            shown.append(_fault(plan.host, answer))
            continue
        outcome = next(outcomes) if _is_of_a_role(plan) else ()
        if isinstance(outcome, OakError):
            shown.append(_fault(plan.host, outcome))
        else:
            shown.append(HostPlan(plan.host, outcome))
    return shown


def _fault(host: str, error: OakError) -> HostPlan:
    return HostPlan(host, (), error.message, error.hint, int(error.exit_code), error.details)


def _is_of_a_role(plan: PlanRequest) -> bool:
    return any(one is not None for one in (plan.cluster, plan.worker, plan.playbook))


def _host_of(plan: PlanRequest) -> Callable[[Database], HostView]:
    given = [one for one in (plan.cluster, plan.worker, plan.playbook) if one is not None]
    if len(given) > 1:
        raise UsageError("a plan is of at most one of cluster, worker and playbook")

    def host(db: Database) -> HostView:
        if not plan.address:
            return fleet.known_host(db, plan.host)
        known = fleet.host(db, plan.host)
        return HostView(
            plan.host,
            plan.address,
            plan.port,
            plan.user,
            plan.identity_file,
            plan.jump,
            role=known.role if known is not None else "",
        )

    return host


def _role_of(plan: PlanRequest) -> Callable[[Database], Role]:
    def role(db: Database) -> Role:
        if plan.cluster is not None:
            return _cluster(db, plan.cluster)
        if plan.worker is not None:
            return _worker(db, plan.worker)
        assert plan.playbook is not None
        return plan.playbook

    return role


def _cluster(db: Database, request: ClusterCreate) -> ClusterInputs:
    row = fleet.cluster(db, request.name)
    block = row.block if row is not None else fleet.lowest_free_block(db)
    return cluster_inputs(request, block, credentials.known_root_secret(request.name))


def _worker(db: Database, request: WorkerAdd) -> WorkerInputs:
    # Of a cluster that does not exist yet nothing is known: nothing of it is on the host either.
    access = credentials.access(request.cluster) or ClusterAccess(
        "", BUS_PORT, "", BUS_PORT, "", request.cluster
    )
    secret = credentials.known_worker_secret(request.cluster, request.name)
    return worker_inputs(request, secret, access, hub_of(db, request.cluster))
