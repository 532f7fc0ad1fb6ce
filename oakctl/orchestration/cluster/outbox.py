"""Events on their way to the root: durable until it has answered, in order, and bounded.

Belongs here: numbering, the bound, and sending again. Does not belong here: what is an event
(`changes`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.messages import Answer, ClusterEvent
from oakctl.orchestration import bus
from oakctl.orchestration.cluster.changes import Change
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.store import Store, Write

log = logging.getLogger("oakctl.cluster.outbox")

MOST = 5000
DROPPED_AT_ONCE = 100
ANSWER_TIMEOUT_S = 5.0
RETRY_S = 1.0


class Outbox:
    """The events that the root has not acknowledged."""

    def __init__(
        self,
        cluster: str,
        stored: Mapping[str, bytes],
        now: Now,
        overheard: Callable[[ClusterEvent], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._overheard = overheard
        self._waiting: deque[tuple[str, ClusterEvent]] = deque()
        for key in sorted(stored):
            try:
                self._waiting.append((key, wire.decode(stored[key], ClusterEvent)))
            except wire.Malformed as error:
                log.warning("event %s is dropped: %s", key, error)
        last = int(self._waiting[-1][0]) if self._waiting else 0
        self._number = max(last, int(now.wall * 1000))
        self._dropped = 0
        self._more = asyncio.Event()
        if self._waiting:
            self._more.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def records(self) -> dict[tuple[str, str], bytes]:
        """What is to be stored of them, by bucket and key."""
        return {(subjects.BUCKET_EVENTS, k): wire.encode(event) for k, event in self._waiting}

    def add(self, changes: Sequence[Change], now: Now) -> tuple[Write, ...]:
        """Queue events; returns what has to be written for them to be durable."""
        if not changes:
            return ()
        writes = [self._append(change, now) for change in changes]
        if len(self._waiting) > MOST:
            writes += self._drop_oldest(now)
        self._more.set()
        return tuple(writes)

    async def run(self, client: Client, store: Store) -> None:
        """Send them one after the other, for ever."""
        while True:
            await self._more.wait()
            if not self._waiting:
                self._more.clear()
                continue
            key, event = self._waiting[0]
            if not await self._sent(client, event):
                await asyncio.sleep(RETRY_S)
                continue
            # The oldest may have been dropped while we waited for the answer.
            if self._waiting and self._waiting[0][0] == key:
                self._waiting.popleft()
            await store.write((Write(subjects.BUCKET_EVENTS, key, None),))

    async def _sent(self, client: Client, event: ClusterEvent) -> bool:
        if not client.is_connected:
            return False
        try:
            answer = await bus.ask(
                client, subjects.UP_EVENT, event, Answer, timeout_s=ANSWER_TIMEOUT_S
            )
        except (NatsError, OSError, asyncio.TimeoutError):
            return False  # the root is away, as it may be: they wait
        except wire.Malformed as error:
            log.warning("the root answered an event with %s", error)
            return False
        return answer.ok

    def _append(self, change: Change, now: Now) -> Write:
        self._number += 1
        key = f"{self._number:020d}"
        event = ClusterEvent(
            cluster=self._cluster,
            event_id=f"{self._cluster}-{self._number}",
            at=now.wall,
            kind=change.kind,
            subject=change.subject,
            message=change.message,
            reason=change.reason,
        )
        self._waiting.append((key, event))
        if self._overheard is not None:
            self._overheard(event)
        return Write(subjects.BUCKET_EVENTS, key, wire.encode(event))

    def _drop_oldest(self, now: Now) -> list[Write]:
        removed = [self._waiting.popleft()[0] for _ in range(DROPPED_AT_ONCE)]
        self._dropped += len(removed)
        message = f"{self._dropped} older events were dropped: the root was away too long"
        counter = self._append(Change("events.dropped", self._cluster, message), now)
        return [*(Write(subjects.BUCKET_EVENTS, key, None) for key in removed), counter]
