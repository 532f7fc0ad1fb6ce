"""Clusters of ours get to know each other, and are forgotten by each other.

Once introduced they tell each other of tables and nodes by themselves (`cluster.peers`). Belongs
here: who is to be introduced, and carrying what two tell each other that cannot dial either way.
The root keeps no secret of it: a pair that does not agree on its introduction gets a new one. Does
not belong here: tables of clusters that are another operator's (`root.tables`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oakctl.errors import OakError
from oakctl.model import subjects
from oakctl.model.config import endpoint
from oakctl.model.messages import ClusterState
from oakctl.model.peers import PeerIntroduction, PeerRemoval, PeerSummary, PeerWord
from oakctl.model.views import ClusterLink
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store.fleet import ClusterRow
from oakctl.overlay.addressing import cluster_block

log = logging.getLogger("oakctl.root.peering")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
ROUNDS = 4  # of words there and back; two are enough where nothing changes meanwhile

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Known:
    """A cluster of ours that answers, and what it says of others. `address` is of its bus."""

    name: str
    address: str
    peers: Mapping[str, PeerSummary]


def to_introduce(known: Iterable[Known]) -> list[Pair]:
    """Pairs that do not agree on an introduction, or have another address of each other. Pure."""
    found = []
    for one, other in itertools.combinations(sorted(known, key=lambda k: k.name), 2):
        mine, theirs = one.peers.get(other.name), other.peers.get(one.name)
        if (
            mine is None
            or theirs is None
            or mine.introduction != theirs.introduction
            or (mine.address, theirs.address) != (other.address, one.address)
        ):
            found.append((one.name, other.name))
    return found


def to_forget(known: Iterable[Known], rows: Iterable[str]) -> list[Pair]:
    """(cluster, peer of it that is none of ours any more). Pure."""
    ours = set(rows)
    return [(one.name, name) for one in known for name in sorted(one.peers) if name not in ours]


def to_carry(known: Iterable[Known]) -> list[Pair]:
    """Pairs with something to tell each other, and no link to tell it by. Pure."""
    found = []
    for one, other in itertools.combinations(sorted(known, key=lambda k: k.name), 2):
        mine, theirs = one.peers.get(other.name), other.peers.get(one.name)
        if mine is None or theirs is None or mine.linked or theirs.linked:
            continue
        if mine.introduction == theirs.introduction and (
            mine.revision != theirs.have or theirs.revision != mine.have
        ):
            found.append((one.name, other.name))
    return found


def links_of(name: str, said: Mapping[str, ClusterState | None]) -> tuple[ClusterLink, ...]:
    """How a cluster is with each other one that links, by what they said last. Pure."""
    peers = {
        one: {peer.cluster: peer for peer in state.peers}
        for one, state in said.items()
        if state is not None and state.peers is not None
    }
    if name not in peers:
        return ()
    return tuple(_link(name, other, peers) for other in sorted(peers) if other != name)


def _link(name: str, other: str, peers: Mapping[str, Mapping[str, PeerSummary]]) -> ClusterLink:
    mine, theirs = peers[name].get(other), peers[other].get(name)
    if mine is None or theirs is None or mine.introduction != theirs.introduction:
        return ClusterLink(other, False, reason="they are not introduced yet")
    if mine.linked:
        return ClusterLink(other, True, mine.dialled_by, mine.since)
    reasons = [
        f"{one} can't dial {seen.address}: {seen.reason}"
        for one, seen in ((name, mine), (other, theirs))
        if seen.reason
    ]
    return ClusterLink(other, False, reason="; ".join(reasons) or "it is being dialled")


@dataclass
class _Trouble:
    """When a pair is tried again, and how long is waited after that."""

    retry_at: float = 0.0  # monotonic
    pause_s: float = FIRST_PAUSE_S
    said: str = field(default="", compare=False)


class Peering:
    """One for a root. What it begins goes on beside the pass that began it."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._links = links
        self._tasks: dict[Pair, asyncio.Task[None]] = {}
        self._troubles: dict[Pair, _Trouble] = {}

    def once(self, rows: Sequence[ClusterRow]) -> None:
        """Begin what is due among the clusters that answer."""
        ours = [row for row in rows if not self._is_granted(row.name)]
        blocks = {row.name: row.block for row in ours}
        states = {row.name: row.state for row in ours}
        known = [k for name in blocks if (k := self._known(name)) is not None]
        for one, other in to_introduce(k for k in known if states[k.name] == "ready"):
            self._begin((one, other), self._introduce(one, other, blocks))
        for one, other in to_forget(known, blocks):
            self._begin((one, other), self._forget(one, other))
        for one, other in to_carry(known):
            self._begin((one, other), self._carry(one, other))

    async def close(self) -> None:
        """Break off what is under way; the next root does it again."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _is_granted(self, name: str) -> bool:
        link = self._links.get(name)
        return link is not None and bool(link.account)

    def _known(self, name: str) -> Known | None:
        link = self._links.get(name)
        if link is None or link.account or not link.reachable or link.state is None:
            return None
        access = credentials.access(name)
        if access is None or link.state.peers is None:
            return None
        address = endpoint(access.bus_address, access.bus_port)
        return Known(name, address, {peer.cluster: peer for peer in link.state.peers})

    def _begin(self, pair: Pair, work: Coroutine[Any, Any, None]) -> None:
        trouble = self._troubles.get(pair)
        early = trouble is not None and time.monotonic() < trouble.retry_at
        if pair in self._tasks or early:
            work.close()
            return
        self._tasks[pair] = asyncio.get_running_loop().create_task(self._tried(pair, work))

    async def _tried(self, pair: Pair, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            self._troubles.pop(pair, None)
        except OakError as error:
            self._note(pair, error.message)
        # The outermost boundary of this work: the other pairs go on.
        except Exception:
            log.exception("%s and %s: this broke", *pair)
            self._note(pair, "it broke")
        finally:
            del self._tasks[pair]

    def _note(self, pair: Pair, why: str) -> None:
        trouble = self._troubles.setdefault(pair, _Trouble())
        trouble.retry_at = time.monotonic() + trouble.pause_s
        trouble.pause_s = min(2 * trouble.pause_s, LONGEST_PAUSE_S)
        if trouble.said != why:
            trouble.said = why
            log.warning("%s and %s: %s", *pair, why)

    async def _introduce(self, one: str, other: str, blocks: Mapping[str, int]) -> None:
        """Who dials first is told last: by then the other knows it."""
        id = secrets.token_hex(8)
        words = {name: secrets.token_hex(16) for name in (one, other)}
        for name, peer in ((other, one), (one, other)):
            access = credentials.access(peer)
            if access is None or name not in self._links or peer not in self._links:
                return  # it is being removed
            hashed = await asyncio.to_thread(credentials.hashed, words[peer])
            given = PeerIntroduction(
                id=id,
                cluster=peer,
                address=endpoint(access.bus_address, access.bus_port),
                ca_pem=access.ca_pem,
                block=cluster_block(blocks[peer]),
                secret=words[name],
                bcrypt_hash=hashed,
            )
            await self._links[name].order(subjects.CTL_PEER, given)
        await self._refresh(one, other)

    async def _forget(self, cluster: str, peer: str) -> None:
        await self._links[cluster].order(subjects.CTL_UNPEER, PeerRemoval(peer))
        await self._refresh(cluster)

    async def _carry(self, one: str, other: str) -> None:
        first, second = self._links[one], self._links[other]
        word = PeerWord(other, _have(second, one))
        for _ in range(ROUNDS):
            word = await first.ask(subjects.CTL_WORD, word, PeerWord)
            word = await second.ask(subjects.CTL_WORD, word, PeerWord)
            if word.news is None:
                break
        await self._refresh(one, other)

    async def _refresh(self, *names: str) -> None:
        for name in names:
            if name in self._links:
                await self._links[name].refresh()


def _have(link: Link, peer: str) -> int:
    """What a cluster holds of what a peer has told."""
    peers = link.state.peers if link.state is not None else None
    return next((one.have for one in peers or () if one.cluster == peer), 0)
