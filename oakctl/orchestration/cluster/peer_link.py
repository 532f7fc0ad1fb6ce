"""The link with one other cluster: what it was told and has told, over whichever way there is.

Belongs here: words in and out, one after the other, and when the other was heard. A word may come
by our dialling, by the other's, or carried by the root: what it does is the same. Does not belong
here: connections (`peers`), what news make of the state (`peer_tables`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from oakctl.model.documents import ServiceTable
from oakctl.model.peers import PeerDocument, PeerNews, PeerSummary, PeerWord
from oakctl.orchestration.cluster import clock, peer_tables
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.peer_file import KnownPeer
from oakctl.orchestration.cluster.peer_tables import Taken
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.state import State

log = logging.getLogger("oakctl.cluster.peers")

SILENCE_S = 6.0  # a link speaks every `peers.SYNC_S`
REMEMBERED = 16  # documents that the other may hold


class PeerLink:
    """`own` is this cluster. `changed` is called when it is linked, or no longer."""

    def __init__(self, own: str, known: KnownPeer, core: Core, changed: Callable[[], None]) -> None:
        now = clock.read()
        self.known = known
        self.reason = ""  # why dialling it fails
        self.wake = asyncio.Event()  # there may be something to say
        self._own = own
        self._core = core
        self._changed = changed
        self._have = 0  # revision of its document that is durable here
        self._told = 0  # revision of ours that it was told last, if it heard us
        self._its_have = 0
        self._sent: OrderedDict[int, PeerDocument] = OrderedDict()
        self._refused: dict[str, ServiceTable] = {}
        self._started = now.mono
        self._heard: dict[str, float] = {}  # the cluster that dials → when we heard by that
        self._linked_by = ""
        self._since = 0.0
        self._lock = asyncio.Lock()

    @property
    def _document(self) -> PeerDocument:
        found = self._core.documents.told.get(self.known.cluster)
        return found or PeerDocument(self._own, 0)

    # --- words ---

    def word(self) -> PeerWord:
        """What there is to say now, from what the other has said that it holds."""
        self._told = self._its_have
        return self._next_word()

    def push(self) -> PeerWord | None:
        """What changed since the last word, if anything did."""
        return self._next_word() if self._told != self._document.revision else None

    def _next_word(self) -> PeerWord:
        document = self._document
        news = None
        if document.revision != self._told:
            news = peer_tables.change(self._sent.get(self._told), document)
            self._sent[document.revision] = document
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
            self._told = document.revision
        return PeerWord(self._own, self._have, news)

    async def hear(self, word: PeerWord) -> PeerWord:
        """Take in a word, durably; returns what there is to say then."""
        async with self._lock:
            await self._take(word.news)
            self._its_have = word.have
            return self.word()

    async def overhear(self, word: PeerWord) -> None:
        """Take in a word that was pushed: it says nothing new of what the other holds."""
        async with self._lock:
            await self._take(word.news)
        self.wake.set()

    def is_settled(self, answered: PeerWord) -> bool:
        """Whether both sides hold all there is, after this answer was heard."""
        return answered.news is None and self._its_have == self._document.revision

    @property
    def progress(self) -> tuple[int, int]:
        """What is held of the other's, and of ours by the other."""
        return self._have, self._its_have

    async def _take(self, news: PeerNews | None) -> None:
        if news is None and not self._refused:
            return
        before = self._have

        def decide(state: State, _: Fleet, __: Now) -> tuple[State, Taken]:
            if news is None:
                again = tuple(self._refused.values())
                after, refused = peer_tables.with_tables(state, self.known.cluster, again)
                done = Taken(after, before, refused)
            else:
                done = peer_tables.taken(state, self.known.cluster, before, news)
            return done.state, done

        # The link may end in the middle of it; what was begun is done.
        done = await asyncio.shield(self._core.change(decide))
        self._have = done.have
        if news is None or done.have != before:
            self._note_refused(news, done.refused)

    def _note_refused(self, news: PeerNews | None, refused: tuple[ServiceTable, ...]) -> None:
        told = {table.job_name for table in news.tables} if news is not None else set(self._refused)
        whole = news is not None and news.base == 0
        kept = {} if whole else {k: t for k, t in self._refused.items() if k not in told}
        for job in news.gone if news is not None else ():
            kept.pop(job, None)
        fresh = [table.job_name for table in refused if table.job_name not in self._refused]
        if fresh:
            log.warning("%s: tables of %s are refused: their addresses are another root's",
                        self.known.cluster, ", ".join(fresh))  # fmt: skip
        self._refused = kept | {table.job_name: table for table in refused}

    # --- who dials, and since when ---

    def heard_by(self, dialler: str) -> None:
        """Take note that the other was heard over a connection that `dialler` has made."""
        self._heard[dialler] = clock.read().mono
        self.look()

    def is_linked_by(self, dialler: str) -> bool:
        """Whether it was heard a moment ago over such a connection."""
        return clock.read().mono - self._heard.get(dialler, float("-inf")) < SILENCE_S

    @property
    def shall_dial(self) -> bool:
        """Whether we are to dial: one of two does, the first by name if it can."""
        other = self.known.cluster
        if self.is_linked_by(other):
            return self._own < other and self.is_linked_by(self._own)
        heard = max(self._heard.get(other, self._started), self._started)
        return self._own < other or clock.read().mono - heard >= SILENCE_S

    def look(self) -> None:
        """Note when the link came or went."""
        pair = sorted((self._own, self.known.cluster))
        by = next((name for name in pair if self.is_linked_by(name)), "")
        if by == self._linked_by:
            return
        if by:
            log.info("linked with %s, dialled by %s", self.known.cluster, by)
            self._since = clock.read().wall
        else:
            log.warning("no link with %s any more", self.known.cluster)
        self._linked_by = by
        self._changed()

    def summary(self) -> PeerSummary:
        """What the owner's root is told."""
        return PeerSummary(
            cluster=self.known.cluster,
            introduction=self.known.id,
            address=self.known.address,
            linked=bool(self._linked_by),
            dialled_by=self._linked_by,
            since=self._since if self._linked_by else 0.0,
            reason=self.reason,
            revision=self._document.revision,
            have=self._have,
        )
