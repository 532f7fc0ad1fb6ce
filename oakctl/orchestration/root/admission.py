"""Whether a cluster or a worker may be made as it is asked for, by what is stored.

Belongs here: names that are taken, hosts that are, states that do not allow it. Does not belong
here: making it (`root.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model import tunnel_endpoint
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.resources import Resources
from oakctl.orchestration.root import credentials, differences
from oakctl.orchestration.root.store import fleet
from oakctl.overlay import addressing
from oakctl.remote import overlay_choice


def cluster(
    db: Database, request: ClusterCreate, now: float, *, change: bool
) -> fleet.ClusterRow | None:
    """The row to store; None for a cluster that is ready, and on this host.

    Raises Conflict for one that is described differently unless `change`, NotFound.
    """
    fleet.known_host(db, request.host)
    known = fleet.cluster(db, request.name)
    if known is None:
        return _new_cluster(db, request, now)
    if (known.state, known.host) == ("creating", request.host):
        return replace(known, policy=request.policy, location=request.location)
    credentials.own(request.name, "its orchestrator")
    before = ClusterCreate(known.name, known.host, known.policy, known.location)
    differing = differences.of_cluster(before, request)
    if known.host == request.host and known.state == "ready" and (change or not differing):
        return None
    raise Conflict(
        f"there is a cluster {request.name} already ({known.state}, on host {known.host})",
        hint="oakctl fleet apply changes what is there; else choose another name, or: "
        f"oakctl cluster remove {request.name}",
        details=_on_host(known.host, request.host) + differing,
    )


def _new_cluster(db: Database, request: ClusterCreate, now: float) -> fleet.ClusterRow:
    other = next((row for row in fleet.clusters(db) if row.host == request.host), None)
    if other is not None:
        raise Conflict(
            f"host {request.host} is the orchestrator of {other.name}", hint="oakctl host ls"
        )
    block = fleet.lowest_free_block(db)
    addressing.cluster_block(block)
    return fleet.ClusterRow(
        request.name, request.host, request.policy, request.location, block, "creating", now
    )


def worker(db: Database, request: WorkerAdd, *, change: bool) -> fleet.WorkerRow | None:
    """The row to store; None for a worker that is ready, and on this host.

    Raises Conflict for one that is described differently unless `change`, NotFound.
    """
    fleet.known_host(db, request.host)
    _check_cluster(db, request.cluster)
    known = fleet.worker(db, request.cluster, request.name)
    if known is None:
        return _new_worker(db, request)
    host = known.request.host
    if (known.state, host) == ("joining", request.host):
        return fleet.WorkerRow(request, "joining")
    differing = differences.of_worker(known.request, request)
    if host == request.host and known.state == "ready" and (change or not differing):
        return None
    raise Conflict(
        f"there is a worker {request.cluster}/{request.name} already ({known.state})",
        hint="oakctl fleet apply changes what is there; else choose another name, or: "
        f"oakctl worker remove {request.cluster}/{request.name}",
        details=_on_host(host, request.host) + differing,
    )


def _new_worker(db: Database, request: WorkerAdd) -> fleet.WorkerRow:
    other = next((row for row in fleet.workers(db) if row.request.host == request.host), None)
    if other is not None:
        raise Conflict(
            f"host {request.host} is worker {other.cluster}/{other.name}", hint="oakctl host ls"
        )
    return fleet.WorkerRow(request, "joining")


def _check_cluster(db: Database, name: str) -> None:
    row = fleet.cluster(db, name)
    if row is None:
        raise NotFound(f"there is no cluster {name!r}", hint="oakctl cluster ls")
    credentials.own(name, "adding workers")
    if row.state != "ready":
        raise Conflict(
            f"cluster {name} is {row.state}", hint=f"oakctl cluster create {name} --on {row.host}"
        )


def _on_host(known: str, wanted: str) -> tuple[str, ...]:
    return (differences.differs("host", known, wanted),) if known != wanted else ()


def check_declared(declared: Sequence[str]) -> None:
    """Raises UsageError for a name that is no resource."""
    known = [field.name for field in fields(Resources)]
    for name in declared:
        if name not in known:
            raise UsageError(
                f"{name!r} is no resource that can be declared",
                hint=f"one of {', '.join(known)}",
            )


def check_overlay(request: WorkerAdd) -> None:
    """Raises UsageError for an overlay or an endpoint that is none."""
    if request.overlay not in overlay_choice.ASKED:
        kinds = " or ".join(each for each in overlay_choice.ASKED if each)
        raise UsageError(
            f"{request.overlay!r} is no overlay", hint=f"{kinds}; without it: what the host can"
        )
    try:
        tunnel_endpoint.read(request.endpoint)
    except ValueError as error:
        raise UsageError(
            f"endpoint {request.endpoint!r} {error}", hint="as 203.0.113.5:51820, or :51821"
        ) from error
