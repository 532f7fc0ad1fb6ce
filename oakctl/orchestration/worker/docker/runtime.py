"""The runtime for containers: see `worker.runtime.Runtime`.

Belongs here: starts that are under way, and what the driver's picture means for a record. Does
not belong here: Docker's calls (`engine`), or the body of a request (`request`).

A start removes what is left of the instance, creates, and starts; killed anywhere, it leaves
nothing that the next agent could not tell by its labels: a container that was created and never
started counts as never made, once it is sure that nobody is about to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from signal import Signals
from typing import Any, TypeVar

from oakctl.model.instance import DesiredInstance
from oakctl.model.node import ContainerGrants
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.scheduling import grants as granting
from oakctl.orchestration.worker import kernel_overlay, needs, procfs
from oakctl.orchestration.worker.artifacts import Artifacts
from oakctl.orchestration.worker.attempt import Attempt, Identity
from oakctl.orchestration.worker.docker import accelerators, request, seen, words
from oakctl.orchestration.worker.docker.accelerators import Accelerators, Assigned
from oakctl.orchestration.worker.docker.commands import Commands
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.engine import START_S
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.docker.request import Node, Surroundings
from oakctl.orchestration.worker.docker.seen import Key, Seen, key_of_record
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.orchestration.worker.launcher import CANNOT_RUN
from oakctl.orchestration.worker.overlay import OverlayDriver
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import Launch
from oakctl.orchestration.worker.secrets import Secrets

log = logging.getLogger("oakctl.worker.docker")

T = TypeVar("T")

SLOW_AT_ONCE = 4  # containers that are created, started or removed
SETTLES_S = 10.0  # from creating a container to its start


class DockerRuntime:
    """Containers with our labels."""

    def __init__(
        self,
        driver: Driver,
        images: Images,
        artifacts: Artifacts,
        overlay: OverlayDriver,
        node: Callable[[], Node],
        grants: ContainerGrants,
        here: Accelerators,
        gpu_trouble: Callable[[], str],
        collect: Callable[[Seen], Awaitable[None]],
        changed: Callable[[], None],
        secrets: Secrets,
    ) -> None:
        self._collect = collect  # the last of its output, before a container goes
        self._driver = driver
        self._images = images
        self._artifacts = artifacts
        self._overlay = overlay
        self._node = node
        self._grants = grants
        self._here = here
        self._gpu_trouble = gpu_trouble  # why none of them can be handed in now
        self._changed = changed
        self._secrets = secrets
        self._commands = Commands(driver.calls)
        self._slow = asyncio.Semaphore(SLOW_AT_ONCE)
        self._starts: dict[Key, asyncio.Task[None]] = {}
        self._given: dict[Key, Assigned] = {}
        self._refused: dict[Key, str] = {}
        self._failed: dict[Key, str] = {}
        self._asked: dict[Key, Signals] = {}  # to end, while it is being started
        self._ending: dict[str, asyncio.Task[None]] = {}  # container → what is done to it

    def prepare(self, desired: DesiredInstance, attempt: int) -> Launch:
        """See `Runtime`."""
        desired = replace(desired, service=_followed(desired.service))  # what is granted is mounted
        refusals = granting.refusals(desired.service, _real_paths(self._grants))
        if refusals:
            raise CannotStart("; ".join(refusals))
        try:
            bind = self._overlay.bind_address(desired.address)
            reach = request.reachable(desired, self._overlay.local_service_address)
        except ValueError as error:
            raise CannotStart(f"its addresses do not fit this node: {error}") from error
        image, *_ = needs.of(desired)
        node, engine = self._node(), self._driver.engine
        assigned = self._assign(desired)
        uses = desired.service.secrets
        around = Surroundings(
            image=self._images.id(image),
            bind=bind,
            reach=reach,
            folders={
                added.artifact: str(self._artifacts.path(added.artifact))
                for added in desired.service.added_files
            },
            assigned=assigned,
            secrets=self._secrets.for_container(desired.name, uses) if uses else {},
            variables=dict(self._secrets.environment(desired.name)) if uses else {},
        )
        self._given[Key(desired.name, desired.epoch, attempt)] = assigned
        missing = engine.facts.not_limited if engine else ()
        limits = request.limits_in_words(desired.service, node, missing)
        return Launch(desired, attempt, request.body(desired, attempt, node, around), limits, bind)

    def start(self, ready: Launch) -> None:
        """See `Runtime`."""
        key = Key(ready.desired.name, ready.desired.epoch, ready.attempt)
        for told in (self._refused, self._failed, self._asked):
            told.pop(key, None)
        task = asyncio.get_running_loop().create_task(self._start(key, ready))
        self._starts[key] = task
        task.add_done_callback(lambda _: self._started(key))

    def look(self, known: Record) -> Attempt:
        """See `Runtime`."""
        key = key_of_record(known)
        if key in self._starts:
            return Attempt(held=True)
        if key in self._refused:
            return Attempt(held=False, refused=self._refused[key])
        found = self._driver.seen.get(key)
        if key in self._failed:
            return _could_not_run(self._failed[key])
        if found is None:
            return Attempt(held=not self._driver.known)
        if found.state == "created":
            # An agent that was killed may have asked for its start, and Docker be about it.
            return Attempt(held=time.time() - found.created_at < SETTLES_S)
        if self._driver.engine is None and found.lives and not _process_lives(found):
            return Attempt(held=True)  # it ended with Docker, which knows how
        return _attempt(found)

    def signal(self, known: Record, number: Signals) -> int:
        """See `Runtime`. SIGTERM is the image's own signal to stop, where it names one."""
        key = key_of_record(known)
        if key in self._starts:
            self._asked[key] = number
            return 1
        found = self._driver.seen.get(key)
        if found is None or not found.lives:
            return 0
        name = found.stop_signal if number == Signals.SIGTERM else number.name
        return self._do(found, f"{name} for", "kill", found.id, name)

    def ran_out_of_memory(self, known: Record) -> bool:
        """See `Runtime`."""
        found = self._driver.seen.get(key_of_record(known))
        return found is not None and found.out_of_memory

    def clear(self, name: str) -> bool:
        """See `Runtime`. A start removes what is left once more, should Docker be away now."""
        left = [one for one in self._driver.ours() if one.key and one.key.name == name]
        for one in left:
            self._remove(one)
        starting = any(key.name == name for key in self._starts)
        return not starting and not any(one.lives for one in left)

    def sweep(self, running: Mapping[str, Record]) -> None:
        """See `Runtime`: containers of ours that no record has, and those that have ended."""
        for told in (self._refused, self._failed, self._given):
            wanted = {key_of_record(known) for known in running.values()}
            for key in told.keys() - wanted - self._starts.keys():
                told.pop(key)
        if self._driver.known:
            self._commands.keep_only({one.id for one in self._driver.ours()})
            for one in seen.unwanted(self._driver.ours(), running):
                if one.key not in self._starts:
                    self._remove(one)

    def members(self, known: Record, everyone: list[procfs.ProcessStat]) -> set[int]:
        """See `Runtime`: all of its main process's control group."""
        found = self._driver.seen.get(key_of_record(known))
        if found is None or not found.pid:
            return set()
        return procfs.group_members(found.pid) or {found.pid}

    def address(self, known: Record) -> str:
        """See `Runtime`: its own on the bridge, which this node can reach."""
        found = self._driver.seen.get(key_of_record(known))
        return (found.address if found else "") or known.bind

    async def run(self, known: Record, command: tuple[str, ...], timeout_s: float) -> bool:
        """Run a command inside; whether it ended well in time."""
        found, engine = self._driver.seen.get(key_of_record(known)), self._driver.engine
        if found is None or engine is None:
            return False
        try:
            return await self._commands.run(engine, found, command, timeout_s) == 0
        except (EngineAway, EngineRefused):
            return False

    async def close(self) -> None:
        """Drop what is under way; the next agent finds what came of it."""
        tasks = [*self._starts.values(), *self._ending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, key: Key, ready: Launch) -> None:
        try:
            await self._create_and_start(key, ready)
        except EngineAway as error:
            # No failure of the instance: a start that was cut off, and Docker has to come back.
            log.warning("%s: its start: %s", key.name, error)
            self._driver.doubt(str(error))
        except EngineRefused as error:
            log.warning("%s: Docker: %s", key.name, error)
            reason = words.in_words(str(error))
            if error.missing and "No such image" in str(error):
                self._images.lost(needs.of(ready.desired)[0])
            if reason.startswith("cannot run"):
                self._failed[key] = reason
            else:
                self._refused[key] = reason
        except Exception as error:
            # Whatever it was: a start that ends without a word would be made again at once.
            log.exception("%s: its start", key.name)
            self._refused[key] = f"its start failed on this node: {type(error).__name__}: {error}"

    async def _create_and_start(self, key: Key, ready: Launch) -> None:
        engine = self._driver.engine
        if engine is None:
            raise EngineAway(self._driver.trouble)
        what = f"starting {key.name}"
        await self._driver.look()
        for one in self._driver.ours():
            if one.key is not None and one.key.name == key.name:
                await self._collect(one)
                await self._slowly(engine.remove, one.id, what=what)
                self._driver.drop(one.id)
        name = request.container_name(self._node(), ready.desired, ready.attempt)
        id_ = await self._slowly(engine.create, name, ready.order, what=what)
        try:
            await self._slowly(engine.start, id_, what=what)
        except EngineRefused:
            await self._slowly(engine.remove, id_, what=what)
            raise
        await self._driver.look()
        await self._connect(key, ready.desired.address)

    async def _connect(self, key: Key, address: str) -> None:
        """Give a container that runs its interface in the kernel overlay; others have theirs."""
        found, engine = self._driver.seen.get(key), self._driver.engine
        if found is None or not found.pid or engine is None:
            return
        try:
            await kernel_overlay.connect(self._overlay, address, found.pid)
        except (OSError, ValueError) as error:  # a former subnet's address, the host's network
            await self._driver.look()
            if self._driver.seen.get(key, found).lives:  # else it has ended, and needs none
                await self._slowly(engine.remove, found.id, what=f"ending {key.name}")
                why = getattr(error, "strerror", None) or error
                raise EngineRefused(f"its network cannot be made: {why}") from error

    async def _slowly(self, function: Callable[..., T], *arguments: Any, what: str) -> T:
        """What may take a slow disk a minute, a few of it at a time."""
        async with self._slow:
            return await self._driver.calls.run_long(
                function, *arguments, what=what, deadline_s=START_S
            )

    def _started(self, key: Key) -> None:
        self._starts.pop(key, None)
        asked = self._asked.pop(key, None)
        found = self._driver.seen.get(key)
        if asked is not None and found is not None and found.lives:
            self._do(found, "ending", "kill", found.id, asked.name)
        self._changed()

    def _remove(self, one: Seen) -> None:
        if not one.lives or one.key is None or one.key not in self._starts:
            self._do(one, "removing", "remove", one.id)

    def _do(self, one: Seen, what: str, method: str, *arguments: str) -> int:
        """Let Docker do something to a container, unless something is done to it already."""
        engine = self._driver.engine
        if engine is None or one.id in self._ending:
            return 0
        task = asyncio.get_running_loop().create_task(
            self._done(one, f"{what} {one.key.name if one.key else one.id}", method, arguments)
        )
        self._ending[one.id] = task
        task.add_done_callback(lambda _: self._ending.pop(one.id, None))
        return 1

    async def _done(self, one: Seen, what: str, method: str, arguments: tuple[str, ...]) -> None:
        engine = self._driver.engine
        if engine is None:
            return
        try:
            if method == "remove":
                await self._collect(one)
                await self._slowly(engine.remove, *arguments, what=what)
            else:
                await self._driver.calls.run(getattr(engine, method), *arguments, what=what)
        except EngineAway as error:
            self._driver.doubt(str(error))
            return
        except EngineRefused as error:
            log.warning("%s: %s", what, error)
            return
        if method == "remove":
            self._driver.drop(one.id)
            self._changed()
        else:
            self._driver.poke()

    def _assign(self, desired: DesiredInstance) -> Assigned:
        asks = desired.service.requests
        declared = "vgpus" in self._here.declared and not self._here.gpus
        if asks.vgpus and not declared and (trouble := self._gpu_trouble()):
            raise CannotStart(trouble)
        others = [one for one in self._driver.ours() if one.lives]
        starting = [self._given[key] for key in self._starts if key in self._given]
        gpus = [gpu for one in others for gpu in one.gpus]
        tpus = [tpu for one in others for tpu in one.tpus]
        return accelerators.assign(
            asks.vgpus,
            asks.vtpus,
            self._here,
            [*gpus, *(gpu for given in starting for gpu in given.gpus)],
            [*tpus, *(tpu for given in starting for tpu in given.tpus)],
        )


def _process_lives(found: Seen) -> bool:
    return procfs.lives(found.pid, found.start) if found.start else True


def _attempt(found: Seen) -> Attempt:
    identity = Identity(found.pid, found.start)
    if found.lives:
        return Attempt(held=False, process=identity, lives=True)
    if found.state == seen.REMOVED:
        removed = "its container was removed, and not by the agent"
        return Attempt(held=False, process=identity, words=removed)
    return Attempt(held=False, process=identity, exit_code=found.exit_code)


def _could_not_run(reason: str) -> Attempt:
    return Attempt(held=False, exit_code=CANNOT_RUN, error=reason)


def _followed(service: ServiceSpec) -> ServiceSpec:
    """The service with its host's paths as they really are: a link may lead out of what is
    allowed."""
    volumes = tuple(
        replace(volume, source=os.path.realpath(volume.source)) if volume.of_host else volume
        for volume in service.volumes
    )
    return replace(service, volumes=volumes)


def _real_paths(grants: ContainerGrants) -> ContainerGrants:
    paths = []
    for entry in grants.host_paths:
        path = entry.removesuffix(granting.READ_ONLY)
        paths.append(os.path.realpath(path) + entry[len(path) :])
    return replace(grants, host_paths=tuple(paths))
