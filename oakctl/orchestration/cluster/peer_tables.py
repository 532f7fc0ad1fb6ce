"""What this cluster tells another one of its operator's, and what it takes from it. Pure.

Belongs here: the document for the other, the change from one to the next, and what news make of
the state. The tables of granted roots are no part of it: their own roots carry those. Does not
belong here: how it travels (`peers`), what workers are told (`tables`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from oakctl.model.documents import ServiceTable
from oakctl.model.overlay import OverlayNode
from oakctl.model.peers import PeerDocument, PeerNews
from oakctl.orchestration.cluster import accounts, admission, overlay_nodes, tables
from oakctl.orchestration.cluster.state import PeerRecord, State, drop, put

OWNER = ""


@dataclass(frozen=True)
class Taken:
    """The state after news. `refused` are tables that can't be in force here now."""

    state: State
    have: int  # the revision that is held
    refused: tuple[ServiceTable, ...] = ()


def documents(
    state: State, own: Mapping[str, ServiceTable], sought: frozenset[str] = frozenset()
) -> Mapping[str, PeerDocument]:
    """Other cluster → what it is to be told; `own` are this cluster's tables, numbered.

    `sought` are addresses that workers here asked for and that no service has that is known here.
    """
    if not state.peers:
        return {}
    wants, nodes = tuple(sorted(wanted(state) | sought)), tuple(overlay_nodes.nodes(state))
    found = {}
    for name, peer in state.peers.items():
        named = {job if job in own else state.by_address.get(job, "") for job in peer.wants}
        asked = [job for job in named if job in own and accounts.owner_of(job) == OWNER]
        theirs = tuple(own[job] for job in sorted(asked))
        found[name] = PeerDocument(state.cluster, 0, wants, theirs, nodes)
    return found


def wanted(state: State) -> frozenset[str]:
    """The services that instances here are of or talk to, placed or not."""
    found: set[str] = set()
    for worker in state.workers:
        found |= tables.interest(state, worker)
    for record in state.instances.values():
        spec = state.spec(record.job_name)
        if not record.worker and not record.stopping and spec is not None:
            found.add(record.job_name)
            found.update(link.target for link in spec.connectivity)
    return frozenset(job for job in found if accounts.owner_of(job) == OWNER)


def change(before: PeerDocument | None, after: PeerDocument) -> PeerNews:
    """What somebody is told who holds `before`; None: it is not known what they hold."""
    if before is None:
        return PeerNews(0, after.revision, after.wants, after.nodes, after.tables)
    old = {table.job_name: table for table in before.tables}
    kept = {table.job_name for table in after.tables}
    return PeerNews(
        before.revision,
        after.revision,
        None if before.wants == after.wants else after.wants,
        None if before.nodes == after.nodes else after.nodes,
        tuple(table for table in after.tables if old.get(table.job_name) != table),
        tuple(sorted(old.keys() - kept)),
    )


def taken(state: State, other: str, have: int, news: PeerNews) -> Taken:
    """Put news of a peer in force.

    Late ones, and those to something that we do not hold, change nothing: `have` stays, by which
    the other learns what to send.
    """
    peer = state.peers.get(other)
    if peer is None or news.base not in (0, have) or news.revision <= have:
        return Taken(state, have)
    wants = peer.wants if news.wants is None else news.wants
    nodes = peer.nodes if news.nodes is None else tuple(_believed(peer, news.nodes))
    told = replace(peer, wants=wants, nodes=nodes)
    if told != peer:
        state = replace(state, peers=put(state.peers, other, told))
    told_jobs = {table.job_name for table in news.tables}
    gone = [
        job
        for job, cluster in state.foreign
        if cluster == other
        and accounts.owner_of(job) == OWNER
        and (job in news.gone or (news.base == 0 and job not in told_jobs))
    ]
    for job in gone:
        state = replace(state, foreign=drop(state.foreign, (job, other)))
    state, refused = with_tables(state, other, news.tables)
    return Taken(state, news.revision, refused)


def with_tables(
    state: State, other: str, told: Iterable[ServiceTable]
) -> tuple[State, tuple[ServiceTable, ...]]:
    """With these tables of a peer, and those that are refused: an address is another root's."""
    peer = state.peers.get(other)
    if peer is None:
        return state, ()
    foreign, refused = dict(state.foreign), []
    others = admission.addresses_of_others(state, OWNER)
    for table in told:
        if table.cluster != other or accounts.owner_of(table.job_name) != OWNER:
            continue
        if others.intersection(table.addresses.given):
            refused.append(table)
            continue
        targets = tuple(
            each
            for each in table.targets
            if each.cluster == other and _is_inside(f"{each.address}/32", peer.block)
        )
        foreign[table.job_name, other] = replace(table, targets=targets)
    return (replace(state, foreign=foreign) if foreign != state.foreign else state), tuple(refused)


def introduced(state: State, other: str, block: str) -> State:
    """With a record of this peer."""
    known = state.peers.get(other)
    if known is not None and known.block == block:
        return state
    return replace(state, peers=put(state.peers, other, PeerRecord(other, block)))


def forgotten(state: State, other: str) -> State:
    """Without the peer and all that it told."""
    mine = [key for key in state.foreign if key[1] == other and accounts.owner_of(key[0]) == OWNER]
    if other not in state.peers and not mine:
        return state
    foreign = {key: table for key, table in state.foreign.items() if key not in mine}
    return replace(state, peers=drop(state.peers, other), foreign=foreign)


def _believed(peer: PeerRecord, nodes: Iterable[OverlayNode]) -> Iterable[OverlayNode]:
    for node in nodes:
        if node.cluster == peer.cluster and _is_inside(node.subnet, peer.block):
            yield node


def _is_inside(subnet: str, block: str) -> bool:
    try:
        return ipaddress.IPv4Network(subnet).subnet_of(ipaddress.IPv4Network(block))
    except ValueError:
        return False
