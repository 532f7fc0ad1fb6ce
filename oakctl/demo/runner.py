"""The demonstration: lab, root, clusters, workers, application, a look at it, and all away again.

Belongs here: the order of things, and that teardown follows whatever happens. Does not belong
here: how any of it is done (`lab`, `client`), or shown (`observer`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from oakctl import paths, sla
from oakctl.client import artifact
from oakctl.client.process import hosted_root, log_file, running_root
from oakctl.client.root import RootClient
from oakctl.demo import isolation, report, watch
from oakctl.demo.ground import LOOPBACK, Ground
from oakctl.demo.observer import DemoObserver
from oakctl.demo.report import Report
from oakctl.demo.steps import Steps
from oakctl.errors import DeadlineExceeded, NotFound, OakError
from oakctl.lab import loopback
from oakctl.lab.loopback import DEMO_HOSTS, Lab, LabHost
from oakctl.lab.remains import remains
from oakctl.model.requests import ApplyRequest, ClusterCreate, WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.views import InstanceView, OperationView, ServiceView
from oakctl.remote import resources

log = logging.getLogger("oakctl.demo")

LAB = "demo"
CLUSTERS = ("edge", "cloud")

OPERATION_S = 180.0
READY_S = 120.0
DELETE_S = 60.0
ROOT_GONE_S = 20.0
POLL_S = 0.2


class Demo:
    """One demonstration. `seconds`: how long the application is watched; `lab`: which kind."""

    def __init__(
        self, *, seconds: float = 10.0, descriptor: Path | None = None, lab: str = LOOPBACK
    ) -> None:
        self._ground = Ground(lab)
        self._seconds = seconds
        self._descriptor = descriptor
        self._applications: tuple[str, ...] = ()
        self._lab: Lab | None = None
        self._report = Report()
        self._stack = AsyncExitStack()
        self._watching = False
        self._enough = asyncio.Event()

    def stop(self) -> bool:
        """Watch no longer, take everything away and report.

        False: nothing is being watched yet, so there is nothing to report; cancel `run`.
        """
        self._enough.set()
        return self._watching

    async def run(self, observer: DemoObserver) -> Report:
        """Do all of it and say how it went; also when a step failed.

        Raises Conflict when another demonstration runs, and CancelledError (after the
        teardown) when it is cancelled.
        """
        steps = Steps(observer)
        with isolation.isolated() as logs:
            try:
                await self._build_and_watch(steps, observer)
            except OakError:
                pass  # its step says what and why, and the report carries the step
            finally:
                await self._tear_down(steps, logs)
            # Hints name logs in a directory that is gone now; what it held was kept.
            gone, kept = str(paths.state_directory()), str(logs)
            done = (replace(one, hint=one.hint.replace(gone, kept)) for one in steps.results)
            return replace(self._report, steps=tuple(done))

    # --- building ---------------------------------------------------------------------------

    async def _build_and_watch(self, steps: Steps, observer: DemoObserver) -> None:
        with steps.step("lab up") as step:
            await _clear_leftovers()
            lab = self._lab = await self._ground.up(LAB, step.progress)
            step.message = f"{len(lab.hosts)} hosts answer SSH"
            self._report = replace(self._report, hosts=len(lab.hosts))
        with steps.step("root up") as step:
            status = await self._stack.enter_async_context(hosted_root())
            step.message = f"pid {status.pid}"
        async with RootClient() as root:
            await self._register(root, steps, lab)
            await _all(self._cluster(root, steps, name) for name in CLUSTERS)
            await self._apply(root, steps)
            await self._ready(root, steps)
            await self._watch(root, steps, observer)

    async def _register(self, root: RootClient, steps: Steps, lab: Lab) -> None:
        with steps.step("hosts register"):
            for host in lab.hosts:
                await root.put_host(host)

    async def _cluster(self, root: RootClient, steps: Steps, cluster: str) -> None:
        """A cluster and then, at once, all of its workers."""
        host = _lab_host(cluster)
        request = ClusterCreate(cluster, host.name, location=host.location)
        await _operation(root, steps, f"cluster {cluster}", root.create_cluster(request))
        await _all(
            self._worker(root, steps, cluster, one)
            for one in DEMO_HOSTS
            if one.name.startswith(f"{cluster}-")
        )

    async def _worker(self, root: RootClient, steps: Steps, cluster: str, host: LabHost) -> None:
        name = host.name.removeprefix(f"{cluster}-")
        request = WorkerAdd(
            name,
            cluster,
            host.name,
            contribution=Resources(vcpus=host.vcpus, memory_mb=host.memory_mb, vgpus=host.vgpus),
            declared=("vgpus",) if host.vgpus else (),
            location=host.location,
        )
        await _operation(root, steps, f"worker {cluster}/{name}", root.add_worker(request))

    async def _apply(self, root: RootClient, steps: Steps) -> None:
        with steps.step("application apply") as step:
            file = self._descriptor or resources.data("examples") / "ar" / "ar.yaml"
            text = self._ground.descriptor(file.read_text(encoding="utf-8"))
            checked = sla.parse(text)
            checked.require(str(file))
            uploaded = {}
            for reference in checked.artifact_references():
                step.progress(f"packing {reference}")
                packed = await asyncio.to_thread(
                    artifact.resolve, reference, file.parent, paths.cache_directory() / "artifacts"
                )
                uploaded[reference] = await root.upload_artifact(packed.path)
            result = await root.apply(ApplyRequest(text, uploaded))
            self._applications = result.applications
            step.message = ", ".join(result.applications)

    async def _ready(self, root: RootClient, steps: Steps) -> None:
        with steps.step("instances ready") as step:
            deadline = time.monotonic() + READY_S
            while True:
                services = await self._services(root)
                waiting = [one for one in services if one.ready < one.wanted]
                if not waiting:
                    break
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(
                        f"not ready within {READY_S:.0f} s: "
                        + "; ".join(f"{one.name}: {one.state} {one.reason}" for one in waiting),
                        hint=f"oakctl explain {waiting[0].job_name}",
                    )
                step.progress(", ".join(f"{one.name} {one.ready}/{one.wanted}" for one in services))
                await asyncio.sleep(POLL_S)
            step.message = f"{sum(one.ready for one in services)} instances"

    async def _watch(self, root: RootClient, steps: Steps, observer: DemoObserver) -> None:
        with steps.step("watch") as step:
            self._watching = True
            measured = await watch.watch(
                root, self._applications[0], observer, self._seconds, self._enough,
                self._ground.reach,
            )  # fmt: skip
            step.message = f"{measured.frames} frames, {measured.fps:.1f} fps"
            self._report = replace(
                self._report,
                measured=measured,
                placements=report.placements(await self._instances(root)),
                processes=report.processes(
                    await root.status(), await root.clusters(), await root.workers()
                ),
            )

    async def _services(self, root: RootClient) -> list[ServiceView]:
        return [one for name in self._applications for one in await root.services(name)]

    async def _instances(self, root: RootClient) -> list[InstanceView]:
        prefixes = tuple(f"{name}." for name in self._applications)
        return [one for one in await root.instances() if one.job_name.startswith(prefixes)]

    # --- taking away ------------------------------------------------------------------------

    async def _tear_down(self, steps: Steps, logs: Path) -> None:
        """Every step of it is tried, whatever became of those before."""
        await _attempt(self._ground.close())
        if self._applications:
            await _attempt(self._delete(steps))
        if any(step.name == "root up" and step.ok for step in steps.results):
            await _attempt(self._root_down(steps))
        self._keep_logs(logs)
        await _attempt(self._lab_down(steps))
        await _attempt(self._nothing_left(steps))

    async def _delete(self, steps: Steps) -> None:
        with steps.step("application delete"):
            async with RootClient() as root:
                for name in self._applications:
                    await root.delete_application(name)
                deadline = time.monotonic() + DELETE_S
                for name in self._applications:
                    await _until_gone(root, name, deadline)

    async def _root_down(self, steps: Steps) -> None:
        with steps.step("root down"):
            await self._stack.aclose()

    async def _lab_down(self, steps: Steps) -> None:
        with steps.step("lab down") as step:
            await loopback.down(LAB, step.progress)

    def _keep_logs(self, logs: Path) -> None:
        """What was logged in this run, and nothing of the run before."""
        shutil.rmtree(logs, ignore_errors=True)
        if self._lab is None:
            return
        try:
            self._copy_logs(self._lab, logs)
        except OSError as error:
            log.warning("the logs of this run are not kept: %s", error)

    def _copy_logs(self, lab: Lab, logs: Path) -> None:
        paths.private_directory(logs)
        kept = [log_file(), *lab.directory.glob("*.log")]
        kept += lab.directory.glob("homes/*/.oakctl/log/*.log")
        for file in kept:
            if file.exists():
                home = file.is_relative_to(lab.directory / "homes")
                target = logs / (f"{file.parents[2].name}-{file.name}" if home else file.name)
                shutil.copyfile(file, target)
        log = lab.ssh_log.read_text(encoding="utf-8", errors="replace")
        hosts = [host.name for host in lab.hosts]
        self._report = replace(self._report, ssh=report.ssh_use(log, hosts), logs=str(logs))

    async def _nothing_left(self, steps: Steps) -> None:
        with steps.step("nothing left"):
            lab = self._lab
            left = remains(lab.id, [host.address for host in lab.hosts]) if lab else []
            root = await running_root()
            if root is not None:
                left.append(f"root, pid {root.pid}")
            if left:
                raise OakError(f"left behind: {'; '.join(left)}")
            isolation.forget()


async def _attempt(part: Awaitable[None]) -> None:
    """Do a part of the teardown; that it failed is in its step, and the next one follows."""
    try:
        await part
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest has to be taken away
        log.debug("teardown: %r", error)


async def _operation(
    root: RootClient, steps: Steps, name: str, begin: Awaitable[OperationView]
) -> None:
    with steps.step(name) as step:
        operation = await begin
        ended = await root.wait_operation(operation.id, timeout_s=OPERATION_S)
        done = sum(one.state == "done" for one in ended.steps)
        step.message = f"{done} steps over SSH"


async def _all(parts: Iterable[Awaitable[None]]) -> None:
    """All at once; when one fails the others are ended before its error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _until_gone(root: RootClient, application: str, deadline: float) -> None:
    while True:
        try:
            await root.application(application)
        except NotFound:
            return
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"{application} is not gone within {DELETE_S:.0f} s")
        await asyncio.sleep(POLL_S)


async def _clear_leftovers() -> None:
    """End what a killed demonstration left: its root would know a lab that is gone."""
    if await running_root() is not None:
        async with RootClient() as root:
            await root.shutdown()
        deadline = time.monotonic() + ROOT_GONE_S
        while await running_root() is not None:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"the root of an earlier demo runs on ({paths.database()})")
            await asyncio.sleep(POLL_S)
    await loopback.down(LAB)
    isolation.forget()


def _lab_host(name: str) -> LabHost:
    return next(host for host in DEMO_HOSTS if host.name == name)
