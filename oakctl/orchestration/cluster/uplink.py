"""What goes up to roots by itself: the cluster's state on change, and statistics.

Belongs here: when it is sent. Does not belong here: what it says (`summary`), what of it each root
is told (`audience`), events (`outbox`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable

from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.instance import InstanceStatistics
from oakctl.model.messages import ClusterState, ClusterStatistics
from oakctl.orchestration import waits
from oakctl.orchestration.cluster import clock
from oakctl.orchestration.cluster.accounts import view_statistics
from oakctl.orchestration.cluster.audience import Audience

log = logging.getLogger("oakctl.cluster.uplink")

MOST_OFTEN_S = 0.2  # changes in between are told together
AT_LEAST_S = 1.0
STATISTICS_S = 2.0

Compose = Callable[[str, int], ClusterState]  # session, seq → all there is to tell


class Uplink:
    """Publishes, whether the root listens or not: it asks for all when it comes back."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._session = secrets.token_hex(8)
        self._seq = 0
        self._news = asyncio.Event()
        self._statistics: dict[tuple[str, int], InstanceStatistics] = {}

    def touch(self) -> None:
        """Something changed."""
        self._news.set()

    def compose(self, make: Compose) -> ClusterState:
        """The next state in this session's order."""
        self._seq += 1
        return make(self._session, self._seq)

    def add_statistics(self, instances: Iterable[InstanceStatistics]) -> None:
        """Keep the newest of each instance for the next report."""
        for one in instances:
            self._statistics[one.job_name, one.number] = one

    async def run_states(self, client: Client, make: Compose, audience: Audience) -> None:
        """Publish the state, for ever."""
        while True:
            await waits.set_within(self._news, AT_LEAST_S)  # if not, it is time anyway
            self._news.clear()
            state = self.compose(make)
            for account in audience.accounts():
                subject = subjects.of_root(account, subjects.UP_STATE)
                await self._publish(client, subject, audience.state(state, account))
            await asyncio.sleep(MOST_OFTEN_S)

    async def run_statistics(self, client: Client, audience: Audience) -> None:
        """Publish what instances used, for ever."""
        while True:
            await asyncio.sleep(STATISTICS_S)
            if self._statistics:
                told, self._statistics = tuple(self._statistics.values()), {}
                report = ClusterStatistics(self._cluster, clock.read().wall, told)
                for account in audience.accounts():
                    subject = subjects.of_root(account, subjects.UP_STATISTICS)
                    await self._publish(client, subject, view_statistics(report, account))

    async def _publish(self, client: Client, subject: str, message: object) -> None:
        if not client.is_connected:
            return  # buffered, it would come late and say what is no longer true
        try:
            await client.publish(subject, wire.encode(message))
        except NatsError as error:
            log.info("%s is not published: %r", subject, error)
