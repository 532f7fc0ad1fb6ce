"""What a node says of its overlay when it is asked, and what it tries for that.

Belongs here: which parts are asked, and which tries an overlay of some kind makes possible. Does
not belong here: carrying the tries out (`overlay_probing`), what follows from a sight (the root).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from oakctl.model.config import WorkerConfig
from oakctl.model.documents import ServiceTable, TablesDocument, TableTarget
from oakctl.model.overlay_asking import NodeSight, OverlayLook
from oakctl.orchestration.worker import overlay_probing
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay
from oakctl.orchestration.worker.overlay import OverlayDriver
from oakctl.orchestration.worker.overlay_probing import Try
from oakctl.overlay import sight
from oakctl.overlay.addressing import gateway
from oakctl.overlay.plan import NodeOverlay, local_address

MOST_TRIES = 600


class OverlayDesk:
    """Answers for one node."""

    def __init__(
        self,
        config: WorkerConfig,
        driver: OverlayDriver,
        tables: Callable[[], TablesDocument | None],
        plan: Callable[[TablesDocument], NodeOverlay],
    ) -> None:
        self._config = config
        self._driver = driver
        self._tables = tables
        self._plan = plan
        self._probing = False

    async def answer(self, asked: OverlayLook) -> NodeSight:
        """The overlay as it is here; what is tried for that takes some seconds."""
        document = self._tables() or TablesDocument(self._config.worker, 0)
        found = await self._look(document)
        if not asked.probe:
            return found
        if self._probing:  # each try costs others something, so not for several at a time
            return replace(found, refusal="a test is under way there already")
        self._probing = True
        try:
            tries = list(self._tries(document, found))
            probes = await overlay_probing.carry_out(tries[:MOST_TRIES])
        finally:
            self._probing = False
        return replace(found, probes=probes, untried=max(0, len(tries) - MOST_TRIES))

    def _problems(self) -> tuple[str, ...]:
        try:
            return self._driver.problems()
        except OSError as error:
            return (f"the overlay cannot be looked at: {error.strerror or error}",)

    async def _look(self, document: TablesDocument) -> NodeSight:
        found = NodeSight(
            self._config.worker,
            time.time(),
            self._config.overlay_driver,
            tables=document.tables,
        )
        if isinstance(self._driver, KernelOverlay):
            problems, elements, seen = await self._driver.look()
            return replace(
                found,
                problems=problems,
                leads=sight.leads_of_maps(document.tables, elements),
                reach=sight.reach(seen.unreachable, seen.round_trips_ms),
                attached=tuple(sorted(seen.local - seen.down)),
                measures=True,
            )
        found = replace(found, problems=self._problems())
        if self._config.overlay_driver == "loopback":
            listeners = self._plan(document).listeners
            return replace(found, leads=sight.leads_of_listeners(document.tables, listeners))
        return found

    def _tries(self, document: TablesDocument, found: NodeSight) -> Iterator[Try]:
        if isinstance(self._driver, KernelOverlay):
            for node in document.nodes:
                if node.worker != self._config.worker or node.cluster != self._config.cluster:
                    name, address = f"{node.cluster}/{node.worker}", gateway(node.subnet)
                    yield Try("ping", name, address, address, node=name)
                    yield Try("ping large", name, address, address, node=name)
        for table in document.tables:
            yield from self._tries_of(table)
        yield from self._addresses(document, found)

    def _tries_of(self, table: ServiceTable) -> Iterator[Try]:
        for target in table.targets:
            if not target.ready or target.draining:
                continue
            name = f"{table.job_name}.instance.{target.number}"
            for port in table.ports:
                at, number = self._instance(target), port.container
                if self._config.overlay_driver == "host":
                    number = port.host or port.container
                if at:
                    told = at if self._config.overlay_driver == "host" else target.address
                    node = f"{target.cluster}/{target.worker}"
                    yield Try(port.protocol, name, told, at, number, node)

    def _instance(self, target: TableTarget) -> str:
        if self._config.overlay_driver == "host":
            return target.node_address
        if self._config.overlay_driver != "loopback":
            return target.address
        if target.loopback_number is None:
            return ""
        try:
            return local_address(target.loopback_number, target.address)
        except ValueError:
            return ""  # of no network of ours

    def _addresses(self, document: TablesDocument, found: NodeSight) -> Iterator[Try]:
        """The services' own addresses: those of TCP, as UDP would say nothing of them."""
        policies = {lead.address: lead.policy for lead in found.leads if lead.instances}
        tried = set()
        for table in document.tables:
            for address in sight.addresses_of(table.addresses).values():
                for port in table.ports:
                    key = (address, port.container)
                    if port.protocol == "tcp" and address in policies and key not in tried:
                        tried.add(key)
                        with contextlib.suppress(ValueError):  # as above
                            at = self._driver.local_service_address(address)
                            name = f"{table.job_name} {policies[address]}"
                            yield Try("tcp", name, address, at, port.container)
