"""What a cluster knows of its overlay, for the root that asks; its nodes are asked on request.

Belongs here: putting together what is known, and asking agents. Does not belong here: what nodes
tell by themselves (`overlay_reports`), what it means (the root's side). It is for the owner's root
alone: the bus lets no granted root ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable
from oakctl.model.overlay_asking import (
    NodeKnown,
    NodeSight,
    OverlayAnswer,
    OverlayLook,
    OverlayQuestion,
)
from oakctl.model.overlay_report import OverlayReport
from oakctl.orchestration import bus
from oakctl.orchestration.cluster import accounts, clock, liveness
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.desk import Tasks, answer, read
from oakctl.orchestration.cluster.liveness import NOBODY, Presences
from oakctl.orchestration.cluster.revisions import Documents
from oakctl.orchestration.cluster.state import State
from oakctl.overlay.sight import addresses_of

log = logging.getLogger("oakctl.cluster.overlay")

LOOK_S = 6.0
PROBE_S = 18.0  # an agent takes its time for all that it tries, and ends by itself


class OverlayDesk:
    """Serves `ctl.overlay`; `report` says what a worker told last."""

    def __init__(
        self,
        client: Client,
        core: Core,
        tasks: Tasks,
        report: Callable[[str], OverlayReport | None],
    ) -> None:
        self._client = client
        self._core = core
        self._tasks = tasks
        self._report = report

    async def open(self) -> None:
        """Begin to serve."""
        await self._client.subscribe(subjects.CTL_OVERLAY, cb=self._on_question)

    async def _on_question(self, message: Msg) -> None:
        asked = read(message, OverlayQuestion)
        own = message.reply.startswith(subjects.inbox(subjects.USER_ROOT) + ".")
        if asked is not None and own:
            self._tasks.start(self._answer(message, asked))

    async def _answer(self, message: Msg, asked: OverlayQuestion) -> None:
        found = await asyncio.gather(*(self._ask(one, asked.probe) for one in asked.workers))
        core = self._core
        known = known_of(core.state, core.presences, core.documents, self._report)
        sights = tuple(one for one in found if isinstance(one, NodeSight))
        silent = {
            worker: one
            for worker, one in zip(asked.workers, found, strict=True)
            if isinstance(one, str)
        }
        tables = owners((*core.documents.own.values(), *core.state.foreign.values()))
        given = OverlayAnswer(core.state.cluster, clock.read().wall, known, tables, sights, silent)
        await answer(self._client, message, given)

    async def _ask(self, worker: str, probe: bool) -> NodeSight | str:
        state, presences = self._core.state, self._core.presences
        if worker not in state.workers:
            return "there is no such worker"
        if liveness.status_of(state, presences, worker) == liveness.DEAD:
            return "it is dead: its agent was not heard for too long"
        subject = subjects.command(worker, subjects.CMD_OVERLAY)
        wait_s = PROBE_S if probe else LOOK_S
        try:
            found = await bus.ask(
                self._client, subject, OverlayLook(probe), NodeSight, timeout_s=wait_s
            )
        except (NatsError, OSError, asyncio.TimeoutError, wire.Malformed) as error:
            log.info("worker %s tells nothing of its overlay: %r", worker, error)
            return "its agent does not answer, or its release is older than this question"
        # It speaks for itself alone, whatever it writes there.
        if found.worker != worker:
            return "its answer is in the name of another worker"
        return owners_sight(found)


def owners(tables: Iterable[ServiceTable]) -> tuple[ServiceTable, ...]:
    """The tables of the owner's services: of those of granted roots he is told nothing. Pure."""
    return tuple(table for table in tables if not accounts.owner_of(table.job_name))


def owners_sight(found: NodeSight) -> NodeSight:
    """As `owners`, for what a node sees. Pure."""
    tables = owners(found.tables)
    hidden = {
        address
        for table in found.tables
        if accounts.owner_of(table.job_name)
        for address in addresses_of(table.addresses).values()
    }
    return replace(
        found,
        tables=tables,
        leads=tuple(lead for lead in found.leads if lead.address not in hidden),
        probes=tuple(probe for probe in found.probes if not accounts.owner_of(probe.to)),
    )


def _owners_report(found: OverlayReport | None) -> OverlayReport | None:
    if found is None:
        return None
    tables = tuple(table for table in found.tables if not accounts.owner_of(table.job_name))
    return replace(found, tables=tables)


def known_of(
    state: State,
    presences: Presences,
    documents: Documents,
    report: Callable[[str], OverlayReport | None],
) -> tuple[NodeKnown, ...]:
    """All workers, by name. Pure."""
    found = []
    for name in sorted(state.workers):
        record, document = state.workers[name], documents.tables.get(name)
        tables = owners(document.tables) if document is not None else ()
        found.append(
            NodeKnown(
                name,
                liveness.status_of(state, presences, name),
                presences.get(name, NOBODY).heard_wall,
                record.subnet,
                record.facts,
                tuple((table.job_name, table.cluster) for table in tables),
                document.revision if document is not None else -1,
                presences.get(name, NOBODY).tables_revision,
                _owners_report(report(name)),
            )
        )
    return tuple(found)
