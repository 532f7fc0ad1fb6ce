"""Who is told what: the owner's root and the granted ones, each its own part of the cluster.

Belongs here: which roots there are now, what each is told of a state, and the events of granted
roots, which are kept in memory alone (the owner's are durable, `outbox`). Does not belong here:
how names are changed (`accounts`), when a state is sent (`uplink`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.messages import Answer, ClusterEvent, ClusterState
from oakctl.orchestration import bus, waits
from oakctl.orchestration.cluster import accounts, admission, clock, granted
from oakctl.orchestration.cluster.admission import Policy
from oakctl.orchestration.cluster.admission_file import AdmissionFile
from oakctl.orchestration.cluster.state import State

MOST_EVENTS = 1000  # of one root that is away
ANSWER_TIMEOUT_S = 5.0
RETRY_S = 1.0


class Audience:
    """The roots of a cluster; "" is the owner's."""

    def __init__(self, file: AdmissionFile) -> None:
        self._file = file
        self._state: Callable[[], State] | None = None
        self._asked_at: dict[str, float] = {}
        self._events: dict[str, deque[ClusterEvent]] = {}
        self._news = asyncio.Event()

    def looks_at(self, state: Callable[[], State]) -> None:
        """Where the state is; before that there is the owner alone."""
        self._state = state

    def policy(self) -> Policy:
        """The operator's rules as they are now."""
        return self._file.policy()

    def accounts(self) -> tuple[str, ...]:
        """Everybody who is told something."""
        return ("", *(sorted(self._state().roots) if self._state is not None else ()))

    def asked(self, account: str) -> bool:
        """Take note that a root asks something; False: there is no such root (any more)."""
        if account and account not in self.accounts():
            return False
        self._asked_at[account] = clock.read().wall
        return True

    def state(self, full: ClusterState, account: str) -> ClusterState:
        """The part of it that is for this root."""
        assert self._state is not None, "looks_at() comes first"
        known = self._state()
        seen = accounts.view(full, account, admission.left(known, self.policy(), account))
        if account:
            return seen
        return replace(seen, roots=granted.summaries(known, self._asked_at))

    def overhear(self, event: ClusterEvent) -> None:
        """Queue an event for the granted root that it is about."""
        for account in self.accounts()[1:]:
            seen = accounts.view_event(event, account)
            if seen is not None:
                self._events.setdefault(account, deque(maxlen=MOST_EVENTS)).append(seen)
                self._news.set()

    async def run_events(self, client: Client) -> None:
        """Send granted roots their events, for ever."""
        while True:
            await waits.set_within(self._news, RETRY_S)
            self._news.clear()
            present = self.accounts()
            for account in [name for name in self._events if name not in present]:
                del self._events[account]
            for account, waiting in tuple(self._events.items()):
                while waiting and await _sent(client, account, event := waiting[0]):
                    # The oldest may have been dropped while we waited for the answer.
                    if waiting and waiting[0] is event:
                        waiting.popleft()


async def _sent(client: Client, account: str, event: ClusterEvent) -> bool:
    if not client.is_connected:
        return False
    subject = subjects.of_root(account, subjects.UP_EVENT)
    try:
        answer = await bus.ask(client, subject, event, Answer, timeout_s=ANSWER_TIMEOUT_S)
    except (NatsError, OSError, asyncio.TimeoutError, wire.Malformed):
        return False  # the root is away, as it may be
    return answer.ok
