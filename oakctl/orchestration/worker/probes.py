"""Whether instances are ready: their probes, asked again and again while they run.

Belongs here: asking. Does not belong here: what readiness leads to (the cluster's tables).
Without a probe an instance is ready as soon as it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from oakctl.model.service import Probe
from oakctl.orchestration.worker import http, identity
from oakctl.orchestration.worker.record import Record

log = logging.getLogger("oakctl.worker.probes")

MISSES = 3  # in a row, before an instance that was ready is not
SHORTEST_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Surroundings:
    """What a command of a probe runs in."""

    directory: str
    environment: dict[str, str]
    user: int | None = None  # None: who the agent is


class Probes:
    """One task per running instance that has a probe; `changed` is called on each turn.

    `command` runs a probe's command as the instance, `address` says where its ports are.
    """

    def __init__(
        self,
        command: Callable[[Record, Probe], Awaitable[bool]],
        address: Callable[[Record], str],
        changed: Callable[[], None],
    ) -> None:
        self._address = address
        self._command = command
        self._changed = changed
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._ready: dict[str, bool] = {}

    def is_ready(self, name: str) -> bool:
        """Whether the instance counts as ready while it runs."""
        return self._ready.get(name, True)

    def follow(self, running: Mapping[str, Record]) -> None:
        """Probe exactly these."""
        wanted = {
            (name, known.attempt): known
            for name, known in running.items()
            if known.desired.service.ready is not None and not known.stopping_since
        }
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for name in self._ready.keys() - {name for name, _ in wanted}:
            del self._ready[name]
        for key, known in wanted.items():
            if key not in self._tasks:
                self._ready[known.name] = False
                self._tasks[key] = asyncio.get_running_loop().create_task(self._watch(known))

    async def close(self) -> None:
        """End all probing."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, known: Record) -> None:
        probe = known.desired.service.ready
        assert probe is not None
        misses = 0
        while True:
            holds = await self._ask(probe, known)
            misses = 0 if holds else misses + 1
            if holds != self._ready[known.name] and (holds or misses >= MISSES):
                self._ready[known.name] = holds
                log.info("%s: %s", known.name, "ready" if holds else "not ready any more")
                self._changed()
            await asyncio.sleep(max(SHORTEST_INTERVAL_S, probe.interval_s))

    async def _ask(self, probe: Probe, known: Record) -> bool:
        try:
            if probe.kind == "command":
                return await asyncio.wait_for(self._command(known, probe), probe.timeout_s)
            address = self._address(known)
            if probe.kind == "http":
                status, _ = await http.get(address, probe.port, probe.path, probe.timeout_s)
                return 200 <= status < 400
            return await asyncio.wait_for(_connects(address, probe.port), probe.timeout_s)
        except (OSError, asyncio.TimeoutError, http.BadAnswer):
            return False


async def _connects(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def run_here(probe: Probe, surroundings: Surroundings) -> bool:
    """Run the command of a probe as a process of this node; raises OSError."""
    child = await asyncio.create_subprocess_exec(
        *identity.command(surroundings.user, probe.command),
        cwd=surroundings.directory,
        env=surroundings.environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await child.wait() == 0
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
