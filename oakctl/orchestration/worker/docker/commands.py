"""Commands inside containers that have a time limit: probes.

Belongs here: starting one, waiting for its end, and ending it when its time is over. Docker itself
ends no command; what it started would go on, and a probe that hangs be joined by another one every
few seconds. Does not belong here: when a probe is due (`worker.probes`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass

from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.docker.calls import Calls
from oakctl.orchestration.worker.docker.engine import Command, Engine
from oakctl.orchestration.worker.docker.seen import Seen

log = logging.getLogger("oakctl.worker.docker")

FIRST_LOOK_S = 0.02
LONGEST_LOOK_S = 0.25  # between looks at one that takes longer


@dataclass
class _Running:
    id: str
    last: Command


class Commands:
    """At most one command at a time in each container."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._running: dict[str, _Running] = {}  # by container

    async def run(
        self, engine: Engine, container: Seen, argv: tuple[str, ...], timeout_s: float
    ) -> int | None:
        """The exit code; None: it had none within `timeout_s`, or an earlier one still runs.

        Raises EngineAway, EngineRefused. Whoever is cancelled while it waits here ends the command.
        """
        earlier = self._running.get(container.id)
        if earlier is not None and (await self._look(engine, earlier)).runs:
            self._end(container, earlier)
            return None
        deadline, pause = time.monotonic() + timeout_s, FIRST_LOOK_S
        id_ = await self._calls.run(engine.begin_command, container.id, argv, what="a probe")
        running = self._running[container.id] = _Running(id_, Command(runs=True))
        try:
            while (await self._look(engine, running)).runs:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                await asyncio.sleep(min(left, pause))
                pause = min(LONGEST_LOOK_S, pause * 2)
            return running.last.exit_code
        finally:
            if running.last.runs:
                self._end(container, running)
            else:
                self._running.pop(container.id, None)

    def known(self, container: str) -> Command:
        """What was last seen of the command in this container."""
        running = self._running.get(container)
        return running.last if running else Command(runs=False)

    def keep_only(self, containers: set[str]) -> None:
        """Forget containers that are gone."""
        for id_ in self._running.keys() - containers:
            del self._running[id_]

    async def _look(self, engine: Engine, running: _Running) -> Command:
        running.last = await self._calls.run(engine.command, running.id, what="a probe")
        return running.last

    def _end(self, container: Seen, running: _Running) -> None:
        """Kill it with all that it started in its own process group.

        Where the agent may not (it is a user of this node), no other one is begun until it ends.
        """
        pid = running.last.pid
        if not pid or pid not in procfs.group_members(container.pid):
            return  # not started yet, or its number is somebody else's by now
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:
            log.info("a probe of %s goes on after its time: it may not be ended", container.id[:12])
