"""Links with the other clusters of the same operator: one of two dials the other's bus.

A link needs no root once that has introduced the two. Belongs here: introductions, the connections
that we dial, and what those who dial us say. What they say is answered into the inbox of the user
that the subject belongs to: the bus vouches for that one, and does not check reply subjects. Does
not belong here: what is said (`peer_link`, `peer_tables`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.errors import Conflict, OakError
from oakctl.model import subjects, wire
from oakctl.model.messages import Answer
from oakctl.model.peers import PeerIntroduction, PeerRemoval, PeerSummary, PeerWord, peer_user
from oakctl.orchestration import bus, waits
from oakctl.orchestration.cluster import bus_server, peer_tables
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.credentials import Credentials
from oakctl.orchestration.cluster.desk import answer, read
from oakctl.orchestration.cluster.peer_file import KnownPeer, PeerFolder
from oakctl.orchestration.cluster.peer_link import PeerLink
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.state import State

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.peers")

SYNC_S = 2.0  # between two words where nothing changes
ANSWER_TIMEOUT_S = 5.0
RETRY_S = 0.5
DIAL_S = 5.0
LONGEST_PAUSE_S = 10.0  # between two tries to dial
CLOSE_TIMEOUT_S = 2.0
UNKNOWN_THERE = "its bus does not know us"
TICK_S = 1.0


class Peers:
    """All links of one orchestrator; serves `ctl.peer`, `ctl.unpeer`, `ctl.word`, `peer.*.sync`."""

    def __init__(
        self,
        own: str,
        client: Client,
        core: Core,
        credentials: Credentials,
        folder: PeerFolder,
        changed: Callable[[], None],
    ) -> None:
        self._own = own
        self._client = client
        self._core = core
        self._credentials = credentials
        self._folder = folder
        self._changed = changed
        self._links: dict[str, PeerLink] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Begin to serve, and to dial those that are known."""
        known = {peer.cluster: peer for peer in self._folder.all() if peer.cluster != self._own}
        for name in [name for name in self._core.state.peers if name not in known]:
            await self._core.change(partial(_forgotten, name))
        for peer in known.values():
            await self._begin(peer)
        for subject, serve in (
            (subjects.CTL_PEER, self._on_introduction),
            (subjects.CTL_UNPEER, self._on_removal),
            (subjects.CTL_WORD, self._on_carried),
            (subjects.peer("*", subjects.PEER_SYNC), self._on_sync),
        ):
            await self._client.subscribe(subject, cb=serve)

    async def run(self) -> None:
        """Look who was heard, for ever; the links end with this."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                for link in self._links.values():
                    link.look()
        finally:
            for name in tuple(self._links):
                await self._end(name)

    def touch(self) -> None:
        """Something changed here that others may have to be told."""
        for link in self._links.values():
            link.wake.set()

    def summaries(self) -> tuple[PeerSummary, ...]:
        """How we are with each, for the owner's root."""
        return tuple(self._links[name].summary() for name in sorted(self._links))

    # --- the root introduces, takes back, and carries ---

    async def _on_introduction(self, message: Msg) -> None:
        await self._ordered(message, PeerIntroduction, self._introduced)

    async def _on_removal(self, message: Msg) -> None:
        await self._ordered(message, PeerRemoval, self._removed)

    async def _ordered(
        self, message: Msg, kind: type[T], work: Callable[[T], Awaitable[None]]
    ) -> None:
        if not _is_answered_to(message, subjects.USER_ROOT):
            return
        try:
            async with self._lock:
                await work(wire.decode(message.data, kind))
            given = Answer(True)
        except OakError as error:
            given = Answer(False, "; ".join((error.message, *error.details)))
        except wire.Malformed as error:
            given = Answer(False, str(error))
        await answer(self._client, message, given)
        self._changed()

    async def _introduced(self, given: PeerIntroduction) -> None:
        name = bus_server.check_name(given.cluster, "cluster")
        if name == self._own:
            raise Conflict(f"{name} is this cluster itself")
        await self._credentials.give_peer(name, given.bcrypt_hash)
        await self._end(name)
        await self._begin(await asyncio.to_thread(self._folder.put, given))

    async def _removed(self, asked: PeerRemoval) -> None:
        name = bus_server.check_name(asked.cluster, "cluster")
        await self._end(name)
        await self._credentials.take_back_peer(name)
        await asyncio.to_thread(self._folder.drop, name)
        await self._core.change(partial(_forgotten, name))

    async def _begin(self, known: KnownPeer) -> None:
        await self._core.change(partial(_introduced, known))
        link = PeerLink(self._own, known, self._core, self._changed)
        self._links[known.cluster] = link
        keeping = asyncio.get_running_loop().create_task(self._keep(link))
        self._tasks[known.cluster] = keeping

    async def _end(self, name: str) -> None:
        self._links.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _on_carried(self, message: Msg) -> None:
        if _is_answered_to(message, subjects.USER_ROOT):
            await self._heard(message, "")

    async def _heard(self, message: Msg, dialler: str) -> None:
        word = read(message, PeerWord)
        if word is None or (dialler and word.cluster != dialler):
            return
        link = self._links.get(word.cluster)
        if link is None:
            return  # it was removed a moment ago
        if dialler:
            link.heard_by(dialler)
        await answer(self._client, message, await link.hear(word))

    # --- those who dial us ---

    async def _on_sync(self, message: Msg) -> None:
        dialler = subjects.peer_of(message.subject)
        if _is_answered_to(message, peer_user(dialler)):
            await self._heard(message, dialler)

    async def _attend(self, link: PeerLink) -> None:
        """Tell the one that has dialled us what is new; a word that is lost it asks for."""
        await waits.set_within(link.wake, TICK_S)
        link.wake.clear()
        name = link.known.cluster
        if not link.is_linked_by(name) or not self._client.is_connected:
            return
        word = link.push()
        if word is None:
            return
        try:
            subject = subjects.peer(name, subjects.PEER_WORD)
            await self._client.publish(subject, wire.encode(word))
        except NatsError as error:
            log.info("%s is not told now: %r", name, error)

    # --- those whom we dial ---

    async def _keep(self, link: PeerLink) -> None:
        pause = RETRY_S
        while True:
            try:
                if not link.shall_dial:
                    await self._attend(link)
                    continue
                was_heard = await self._dial(link)
            # The outermost boundary of a link: what broke must not be the last of it.
            except Exception:
                log.exception("the link with %s broke; it begins anew", link.known.cluster)
                was_heard = False
            await asyncio.sleep(pause)
            pause = RETRY_S if was_heard else min(2 * pause, LONGEST_PAUSE_S)

    async def _dial(self, link: PeerLink) -> bool:
        """Dial, and speak as long as that goes; whether it was heard at all."""
        refused = asyncio.Event()

        async def on_refused(_: str) -> None:
            refused.set()
            link.wake.set()

        async def on_reconnected() -> None:
            link.wake.set()

        try:
            client = await bus.connect(
                self._folder.access(link.known),
                name=f"peer {self._own}",
                on_refused=on_refused,
                on_reconnected=on_reconnected,
                wait_s=DIAL_S,
            )
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            link.reason = _in_words(error)
            return False
        try:
            return await self._speak(client, link, refused)
        finally:
            await _closed(client)

    async def _speak(self, client: Client, link: PeerLink, refused: asyncio.Event) -> bool:
        async def on_word(message: Msg) -> None:
            word = read(message, PeerWord)
            if word is not None:
                await link.overhear(word)

        subject = subjects.peer(self._own, subjects.PEER_WORD)
        await client.subscribe(subject, cb=on_word)
        was_heard = False
        while not refused.is_set() and link.shall_dial:
            link.wake.clear()
            if not await self._exchanged(client, link):
                await asyncio.sleep(RETRY_S)
                continue
            was_heard = True
            await waits.set_within(link.wake, SYNC_S)
        if refused.is_set():
            link.reason = UNKNOWN_THERE
        return was_heard

    async def _exchanged(self, client: Client, link: PeerLink) -> bool:
        """Say all there is to say, and hear all; False: not now."""
        if not client.is_connected:
            return False  # what is buffered would come late
        subject = subjects.peer(self._own, subjects.PEER_SYNC)
        before = None
        while True:
            try:
                answered = await bus.ask(
                    client, subject, link.word(), PeerWord, timeout_s=ANSWER_TIMEOUT_S
                )
            except (NatsError, OSError, asyncio.TimeoutError, wire.Malformed) as error:
                link.reason = f"its orchestrator does not answer ({_in_words(error)})"
                return False
            link.reason = ""
            link.heard_by(self._own)
            await link.hear(answered)
            if link.is_settled(answered):
                return True
            if link.progress == before:
                return False  # nothing comes of it: not again at once
            before = link.progress


def _introduced(known: KnownPeer, state: State, _: Fleet, __: Now) -> tuple[State, None]:
    return peer_tables.introduced(state, known.cluster, known.block), None


def _forgotten(name: str, state: State, _: Fleet, __: Now) -> tuple[State, None]:
    return peer_tables.forgotten(state, name), None


def _is_answered_to(message: Msg, user: str) -> bool:
    if message.reply.startswith(subjects.inbox(user) + "."):
        return True
    log.warning("%s wants its answer in %r: not given", message.subject, message.reply)
    return False


async def _closed(client: Client) -> None:
    """Leave the other's bus, however that connection is: nats-py stumbles over one that was cut
    under it, and must not keep the link from beginning anew."""
    closing = asyncio.ensure_future(client.close())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([closing], timeout=CLOSE_TIMEOUT_S)
    closing.cancel()


def _in_words(error: BaseException) -> str:
    if "authorization violation" in str(error).lower():
        return UNKNOWN_THERE
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
