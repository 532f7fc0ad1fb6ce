"""Where service addresses lead, and which worker has to know. Pure functions of the state.

Belongs here: this cluster's table of each of its services, the other clusters' tables as these or
the root brought them, and interest: a worker learns the tables of the services that its instances
are of or talk to, and no others. Does not belong here: what a node makes of them (`overlay.plan`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from oakctl.model.documents import ServiceTable, TablesDocument, TableTarget
from oakctl.model.instance import InstanceState
from oakctl.model.messages import Answer
from oakctl.model.overlay import OverlayNode
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.cluster import overlay_nodes, spare
from oakctl.orchestration.cluster.state import InstanceRecord, Key, State, put

NONE_KNOWN: Mapping[Key, int] = {}

FINISHED = (InstanceState.COMPLETED, InstanceState.UNDEPLOYED)


def own_tables(state: State, spares: Mapping[Key, int] = NONE_KNOWN) -> dict[str, ServiceTable]:
    """The table of every service that this cluster has a share of; generations are 0 here.

    `spares` is what instances have to spare (`spare`), where their service has an address for it.
    """
    ready: dict[str, list[InstanceRecord]] = {}
    expected: Counter[str] = Counter()
    for record in state.instances.values():
        expected[record.job_name] += _is_to_be(record)
        if _takes_traffic(record):
            ready.setdefault(record.job_name, []).append(record)
    tables = {}
    for job_name, service in state.services.items():
        if service.spec is None:
            continue
        records = sorted(ready.get(job_name, []), key=lambda r: r.number)
        tables[job_name] = ServiceTable(
            job_name=job_name,
            cluster=state.cluster,
            generation=0,
            addresses=service.spec.addresses,
            ports=service.spec.all_ports(),
            targets=tuple(_target(state, service.spec, record, spares) for record in records),
            expected=expected[job_name],
            affinity=service.spec.affinity,
        )
    return tables


def interest(state: State, worker: str) -> frozenset[str]:
    """The services whose tables the worker needs: by what is on it, and by what it asked for."""
    record = state.workers.get(worker)
    asked = record.asked if record is not None else {}
    known = frozenset(state.by_address[each] for each in asked if each in state.by_address)
    return by_placement(state, worker) | known


def by_placement(state: State, worker: str) -> frozenset[str]:
    """The services that instances on the worker are of or talk to."""
    found: set[str] = set()
    for record in state.on(worker):
        spec = state.spec(record.job_name)
        if record.stopping or spec is None:
            continue
        found.add(record.job_name)
        found.update(link.target for link in spec.connectivity)
    return frozenset(found)


def for_worker(
    state: State, worker: str, own: Mapping[str, ServiceTable], revision: int
) -> TablesDocument:
    """The worker's document; `own` are this cluster's tables with their generations."""
    wanted = interest(state, worker)
    return TablesDocument(
        worker, revision, tuple(_wanted(state, wanted, own)), _nodes(state, worker)
    )


def foreign(state: State, table: ServiceTable) -> tuple[State, Answer]:
    """Keep another cluster's table; an older generation than the one kept is late."""
    if table.cluster == state.cluster:
        return state, Answer(False, f"the tables of {state.cluster} are its own")
    known = state.foreign.get((table.job_name, table.cluster))
    if known is not None and known.generation >= table.generation:
        return state, Answer(True)
    key = (table.job_name, table.cluster)
    return replace(state, foreign=put(state.foreign, key, table)), Answer(True)


def _nodes(state: State, worker: str) -> tuple[OverlayNode, ...]:
    """The nodes of the kernel overlay, other clusters' too, for one that is among them."""
    its = state.workers[worker].facts if worker in state.workers else None
    if its is None or not its.tunnel_key:
        return ()
    elsewhere = (node for _, peer in sorted(state.peers.items()) for node in peer.nodes)
    return (*overlay_nodes.nodes(state), *elsewhere)


def _wanted(
    state: State, wanted: frozenset[str], own: Mapping[str, ServiceTable]
) -> Iterable[ServiceTable]:
    for job_name in sorted(wanted):
        if job_name in own:
            yield own[job_name]
    for key in sorted(state.foreign):
        if key[0] in wanted:
            yield state.foreign[key]


def _is_to_be(record: InstanceRecord) -> bool:
    """Whether the instance runs or will: calls for it may wait."""
    return not record.stopping and record.state not in FINISHED


def _takes_traffic(record: InstanceRecord) -> bool:
    running = record.state == InstanceState.RUNNING and not record.stopping
    return running and record.observed is not None and record.observed.ready


def _target(
    state: State, spec: ServiceSpec, record: InstanceRecord, spares: Mapping[Key, int]
) -> TableTarget:
    facts = state.workers[record.worker].facts
    return TableTarget(
        number=record.number,
        address=record.address,
        worker=record.worker,
        cluster=state.cluster,
        node_address=facts.address if facts else "",
        loopback_number=facts.loopback_number if facts else None,
        location=facts.location if facts else None,
        weight=spec.weight(state.cluster, record.worker),
        spare=spares.get(record.key, spare.MOST) if spec.addresses.least_ip else 1,
    )
