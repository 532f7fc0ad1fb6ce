"""The node agent: its parts put together, and the loops that keep them going.

Belongs here: which part hears of what, and how often. Does not belong here: decisions
(`reconcile`) or their execution (`instances`). Ending the agent leaves every instance running.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from pathlib import Path

from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.documents import (
    DesiredDocument,
    Heartbeat,
    Report,
    StatisticsReport,
    TablesDocument,
)
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.messages import GreetingAnswer
from oakctl.model.node import ContainerFacts
from oakctl.model.service import Probe
from oakctl.orchestration import waits
from oakctl.orchestration.worker import (
    asking,
    cgroup,
    facts,
    identity,
    kernel_overlay,
    launch,
    metrics,
    needs,
    reconcile,
    refusals,
    shim,
    storage,
)
from oakctl.orchestration.worker.artifacts import Artifacts
from oakctl.orchestration.worker.containers import Containers
from oakctl.orchestration.worker.documents import Documents
from oakctl.orchestration.worker.exits import Exits
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.instances import Instances
from oakctl.orchestration.worker.link import Link, Listeners
from oakctl.orchestration.worker.log_service import LogService
from oakctl.orchestration.worker.needs import Need
from oakctl.orchestration.worker.overlay import driver_for
from oakctl.orchestration.worker.overlay_desk import OverlayDesk
from oakctl.orchestration.worker.overlay_reporter import OverlayReporter
from oakctl.orchestration.worker.probes import Probes, Surroundings, run_here
from oakctl.orchestration.worker.processes import ProcessRuntime
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import CONTAINER, PROCESS, Runtimes
from oakctl.orchestration.worker.secrets import Secrets
from oakctl.orchestration.worker.sessions.desk import SessionDesk
from oakctl.orchestration.worker.statistics import StatisticsMeter
from oakctl.orchestration.worker.supplies import Supplies
from oakctl.orchestration.worker.usage import UsageMeter
from oakctl.overlay.plan import NodeOverlay, desired_overlay

log = logging.getLogger("oakctl.worker")

IDLE_PASS_S = 5.0  # between passes without anything that could change by itself
BUSY_PASS_S = 1.0  # while instances run: what pid descriptors do not tell
SOON_S = 0.05  # while a process is starting or ending
STATISTICS_S = 2.0
TIDY_S = 30.0
LOOK_S = 10.0  # between looks at what others may have changed of the overlay
REPORT_GATHER_S = 0.03  # changes that come together go up together
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0
MOST_ROUNDS = 5  # of decisions in one pass


class Agent:
    """One worker. Made inside a running event loop; raises OSError or UsageError."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._agent_id = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._unreported = asyncio.Event()
        self._looked = asyncio.Event()  # a first pass was made: there is something to report
        self._heartbeat_s = config.heartbeat_s
        self._confirmed: set[tuple[str, int]] = set()
        self._last: tuple[ObservedInstance, ...] = ()
        self._seq = 0
        layout = HostLayout(config.prefix)
        state = Path(layout.state("agent"))
        scripts = shim.scripts(state)
        self._documents = Documents(state, config.worker)
        self._overlay = driver_for(config, self._documents.subnet, self._wake.set)
        limits = cgroup.probe(cgroup.node_group(config.prefix), config.cgroup_root)
        self._facts = facts.gather(
            config, limits_enforced=limits.enforced, limits_reason=limits.reason
        )
        self._facts = kernel_overlay.with_key(self._facts, self._overlay)
        self._link = Link(config, self._agent_id, self._facts, self._listeners())
        self._secrets = Secrets(config.prefix, self._link, self._wake.set)
        self._facts = facts.with_secrets(self._facts, self._secrets.reason)
        self._link.tell(self._facts)
        self._files = InstanceFiles(config.prefix)
        self._artifacts = Artifacts(
            Path(layout.artifact("x")).parent, self._link, scripts["unpack"], self._wake.set
        )
        self._processes = ProcessRuntime(
            self._files,
            self._artifacts,
            self._overlay,
            limits,
            scripts["launcher"],
            self._facts.architecture,
            self._secrets,
            separate_users=identity.separate_users(config.overlay_driver),
        )
        self._containers = Containers(
            config, self._files, self._artifacts, self._overlay, self._wake.set,
            self._on_containers, self._secrets, self._link.login,
        )  # fmt: skip
        self._runtimes = Runtimes({PROCESS: self._processes, CONTAINER: self._containers.runtime})
        self._supplies = Supplies(self._artifacts, self._containers.images, self._secrets)
        self._probes = Probes(self._probe_command, self._address, self._wake.set)
        self._instances = Instances(
            self._files, self._runtimes, self._supplies, self._probes.is_ready
        )
        self._log_service = LogService(
            self._instances.records.get, self._files.log, self._containers.freshen_log
        )
        self._sessions = SessionDesk(
            self._instances.running, self._address, self._processes, self._containers,
            scripts["launcher"], self._link.frame,
        )  # fmt: skip
        self._overlay_reporter = OverlayReporter(
            config, self._agent_id, self._overlay, lambda: self._facts,
            lambda: self._documents.tables, self._link.overlay,
        )  # fmt: skip
        self._overlay_desk = OverlayDesk(
            config, self._overlay, lambda: self._documents.tables, self._plan
        )
        self._exits = Exits(self._wake.set)
        self._usage = UsageMeter(config.prefix)
        self._meter = StatisticsMeter(self._runtimes)

    async def run(self) -> None:
        """Go on until cancelled; raises Refused, or what broke one of the loops."""
        log.info("worker %s of cluster %s", self._config.worker, self._config.cluster)
        if not self._facts.limits_enforced:
            log.warning("limits not enforced: %s", self._facts.limits_reason)
        self._instances.load()
        self._apply_tables()
        loops = [
            asyncio.ensure_future(loop)
            for loop in (
                self._passes(),
                self._link.run(),
                self._heartbeats(),
                self._reports(),
                self._statistics(),
                self._tidying(),
                self._looking(),
                self._containers.run_until_cancelled(),
                kernel_overlay.measure(self._overlay),
                self._overlay_reporter.run(lambda: self._link.connected),
                asking.run(self._overlay, self._link.addresses),
            )
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when="FIRST_COMPLETED")
            for ended in done:
                await ended
        finally:
            await self._sessions.close()  # while there is a bus to say it on
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._probes.close()
            await self._artifacts.close()
            await self._secrets.close()
            await self._containers.close()
            self._exits.close()
            self._instances.sweep()

    def _listeners(self) -> Listeners:
        return Listeners(
            desired=self._on_desired,
            tables=self._on_tables,
            logs=lambda request: self._log_service.answer(request),
            session=lambda asked: self._sessions.open(asked),
            overlay=lambda asked: self._overlay_desk.answer(asked),
            frame=lambda session, frame: self._sessions.frame(session, frame),
            caught_up=self._on_caught_up,
            revisions=lambda: (self._documents.desired_revision, self._documents.tables_revision),
        )

    def _on_desired(self, document: DesiredDocument) -> None:
        if self._documents.take_desired(document):
            log.info("desired: revision %d", document.revision)
            self._wake.set()

    def _on_tables(self, document: TablesDocument) -> None:
        if self._documents.take_tables(document):
            log.info("tables: revision %d", document.revision)
            self._apply_tables()

    def _on_caught_up(self, answer: GreetingAnswer) -> None:
        if answer.heartbeat_s > 0:
            self._heartbeat_s = answer.heartbeat_s
        if answer.accepted:
            refusals.forget(Path(HostLayout(self._config.prefix).state("agent/refused")))
        self._unreported.set()  # a full report after each (re)connect

    def _apply_tables(self) -> None:
        if self._documents.tables is None:
            return
        try:
            self._overlay.apply(self._plan(self._documents.tables))
        except OSError as error:
            log.warning("overlay: %s", storage.in_words(error))

    def _plan(self, document: TablesDocument) -> NodeOverlay:
        return desired_overlay(
            self._config.worker,
            self._config.loopback_number,
            document.tables,
            cluster=self._config.cluster,
            location=self._config.location,
            nodes=document.nodes,
        )

    async def _probe_command(self, known: Record, probe: Probe) -> bool:
        if known.desired.service.virtualization == CONTAINER:
            return await self._containers.run(known, probe.command, probe.timeout_s)
        desired, work = known.desired, self._files.working_directory(known.name)
        local_address = self._overlay.local_service_address
        user = self._processes.user(desired)
        given = str(self._secrets.for_process(known.name, user)) if desired.service.secrets else ""
        environment = launch.environment(
            desired, work, known.bind, local_address, secrets_directory=given
        )
        environment.update(self._secrets.environment(known.name))
        return await run_here(probe, Surroundings(str(work), environment, user))

    def _address(self, known: Record) -> str:
        return self._instances.address(known)

    def _on_containers(self, found: ContainerFacts) -> None:
        """Docker came, went, or can do something else than before: the cluster hears of it."""
        self._runtimes.by_kind[CONTAINER] = self._containers.runtime
        self._supplies.images = self._containers.images
        self._facts = facts.with_containers(self._facts, found)
        self._link.tell(self._facts)
        self._wake.set()

    async def _passes(self) -> None:
        if self._instances.have(CONTAINER):
            await self._containers.asked()
        while True:
            self._wake.clear()
            self._pass(time.time())
            self._looked.set()
            await waits.set_within(self._wake, self._until_next(time.time()))

    def _pass(self, now: float) -> None:
        """Look, decide, act, until nothing changes; then tell."""
        instances = self._instances
        before = instances.version
        instances.observe(now)
        for _ in range(MOST_ROUNDS):
            version = instances.version
            gone = {(r.name, r.epoch) for r in instances.records.values() if r.gone}
            self._confirmed &= gone
            for action in reconcile.decide(
                self._documents.desired,
                instances.records,
                self._supplies.present,
                self._confirmed,
                now,
            ):
                instances.carry_out(action, now)
            if instances.version == version:
                break
        if instances.version != before:
            instances.sweep()
        self._probes.follow(instances.running())  # first: what has just begun is not ready yet
        kernel_overlay.follow(self._overlay, instances.at_addresses())
        self._exits.watch(instances.shim_pids())
        self._supplies.keep_only(self._wanted(), now)
        observed = instances.observed()
        if observed != self._last:
            self._last = observed
            self._unreported.set()

    def _wanted(self) -> set[Need]:
        desired = self._documents.desired.instances if self._documents.desired else ()
        here = (known.desired for known in self._instances.records.values())
        return {need for instance in (*desired, *here) for need in needs.of(instance)}

    def _until_next(self, now: float) -> float:
        records = self._instances.records.values()
        if self._instances.hasty():
            return SOON_S
        due = reconcile.next_due(records, now)
        longest = BUSY_PASS_S if records else IDLE_PASS_S
        return longest if due is None else max(0.0, min(longest, due - now))

    async def _heartbeats(self) -> None:
        seq = 0
        while True:
            seq += 1
            if self._link.connected:
                await self._link.heartbeat(
                    Heartbeat(
                        worker=self._config.worker,
                        agent_id=self._agent_id,
                        seq=seq,
                        sent_at=time.time(),
                        desired_revision=self._documents.desired_revision,
                        tables_revision=self._documents.tables_revision,
                        usage=self._usage.look(self._overlay.relay_pid()),
                    )
                )
            await asyncio.sleep(self._heartbeat_s)

    async def _reports(self) -> None:
        """The newest report goes up until it is acknowledged; older ones are of no interest."""
        delay = FIRST_RETRY_S
        await self._looked.wait()
        while True:
            await self._unreported.wait()
            await asyncio.sleep(REPORT_GATHER_S)
            self._unreported.clear()
            if not self._link.connected:
                continue  # catching up after the next connect sets it again
            report = self._report()
            if await self._link.report(report):
                delay = FIRST_RETRY_S
                self._on_acknowledged(report)
            else:
                await asyncio.sleep(delay)
                delay = min(LONGEST_RETRY_S, delay * 2)
                self._unreported.set()

    def _report(self) -> Report:
        self._seq += 1
        return Report(
            worker=self._config.worker,
            agent_id=self._agent_id,
            seq=self._seq,
            sent_at=time.time(),
            desired_revision=self._documents.desired_revision,
            instances=self._last,
        )

    def _on_acknowledged(self, report: Report) -> None:
        ended = {
            (seen.name, seen.epoch)
            for seen in report.instances
            if seen.state is InstanceState.UNDEPLOYED
        }
        if ended:
            self._confirmed |= ended
            self._wake.set()

    async def _statistics(self) -> None:
        seq = 0
        while True:
            await asyncio.sleep(STATISTICS_S)
            running = self._instances.running()
            self._instances.rotate_logs()
            if running and self._link.connected:
                found = await metrics.scrape(running, self._address)
                seq += 1
                now = time.time()
                statistics = self._meter.look(self._instances.running(), found, now)
                await self._link.statistics(
                    StatisticsReport(self._config.worker, seq, now, statistics)
                )

    async def _tidying(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            self._instances.sweep()
            self._apply_tables()

    async def _looking(self) -> None:
        told: tuple[str, ...] = ()
        while True:
            await asyncio.sleep(LOOK_S)
            problems = await kernel_overlay.problems(self._overlay)
            self._overlay_reporter.problems = problems
            if problems != told:
                told = problems
                for problem in problems:
                    log.warning("overlay: %s", problem)
