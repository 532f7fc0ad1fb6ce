"""A command on several hosts, side by side, its output as it comes.

Belongs here: threads to lines for one reader, and the end of all of it when the reader goes.
Does not belong here: how a command runs on a host (`remote.connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from oakctl.errors import ExitCode, OakError
from oakctl.model.hosts import HostEnded, HostOutput, HostRun
from oakctl.model.views import HostView
from oakctl.remote import runner, threads
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.target import Target

log = logging.getLogger("oakctl.root.host_runs")

AT_ONCE = 20
QUIET_S = 5.0  # without news: then that is said
LINES_AHEAD = 1000  # that a slow reader lets wait

Event = HostOutput | HostEnded
Named = Callable[[Sequence[str]], Awaitable[Sequence[HostView]]]
Targets = Callable[[HostView, bool], AbstractContextManager[Target]]


class HostRuns:
    """Runs commands. `named` looks hosts up, and raises NotFound; `targets` gives how one is
    reached, with the password that was given."""

    def __init__(self, named: Named, targets: Targets) -> None:
        self._named = named
        self._targets = targets

    async def run(self, wanted: HostRun) -> AsyncGenerator[Event | None, None]:
        """Lines as they come, for each host one HostEnded, and None while there is no news.

        Closing it ends the commands.
        """
        hosts = await self._named(wanted.hosts)
        over = threading.Event()
        events: asyncio.Queue[Event] = asyncio.Queue(LINES_AHEAD)
        loop = asyncio.get_running_loop()

        def tell(event: Event) -> None:
            if not over.is_set():
                asyncio.run_coroutine_threadsafe(events.put(event), loop).result()

        runs = [partial(self._on, host, wanted, tell, over) for host in hosts]
        work = threads.side_by_side(runs, AT_ONCE, "host run")
        left = len(hosts)
        try:
            while left:
                try:
                    event = await asyncio.wait_for(events.get(), QUIET_S)
                except asyncio.TimeoutError:
                    yield None
                    continue
                left -= isinstance(event, HostEnded)
                yield event
        finally:
            over.set()
            for each in work:
                each.cancel()  # where its turn has not come
            while not all(each.done() for each in work):
                with contextlib.suppress(asyncio.QueueEmpty):
                    events.get_nowait()  # whoever waits to tell something goes on, and sees it
                await asyncio.sleep(0.01)

    def _on(
        self,
        host: HostView,
        wanted: HostRun,
        tell: Callable[[Event], None],
        over: threading.Event,
    ) -> None:
        try:
            with self._targets(host, wanted.accept_new) as target, open_fabric(target) as remote:
                code = _run(host.name, remote, wanted, tell, over)
            tell(HostEnded(host.name, code))
        except OakError as error:
            tell(HostEnded(host.name, error.exit_code, error.message, error.hint, error.details))
        # The outermost boundary of a run: whatever broke, its reader waits for an end.
        except Exception as error:
            if over.is_set():
                return
            log.exception("a command on host %s broke", host.name)
            why = f"{host.name}: {type(error).__name__}: {error}"
            tell(HostEnded(host.name, int(ExitCode.FAILED), why, "see the root's log, root.log"))


def _run(
    name: str,
    remote: FabricRemote,
    wanted: HostRun,
    tell: Callable[[Event], None],
    over: threading.Event,
) -> int:
    with runner.ended_by(over, remote):
        return remote.stream(
            shlex.join(wanted.command),
            lambda stream, text: tell(HostOutput(name, stream, text)),
            timeout_s=wanted.timeout_s,
            sudo=wanted.sudo,
        )
