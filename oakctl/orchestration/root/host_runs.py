"""A command on several hosts, side by side, its output as it comes.

Belongs here: threads to lines for one reader, and the end of all of it when the reader goes.
Does not belong here: how a command runs on a host (`remote.connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from oakctl.errors import OakError
from oakctl.model.hosts import HostEnded, HostOutput, HostRun
from oakctl.model.views import HostView
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.target import Target

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

        threads = ThreadPoolExecutor(AT_ONCE, "host run")
        work = [loop.run_in_executor(threads, self._on, host, wanted, tell, over) for host in hosts]
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
            threads.shutdown(wait=False, cancel_futures=True)
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


def _run(
    name: str,
    remote: FabricRemote,
    wanted: HostRun,
    tell: Callable[[Event], None],
    over: threading.Event,
) -> int:
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            if over.is_set():
                remote.end_commands()
                remote.close()
                return

    watching = threading.Thread(target=watch, name=f"host run {name}", daemon=True)
    watching.start()
    try:
        return remote.stream(
            shlex.join(wanted.command),
            lambda stream, text: tell(HostOutput(name, stream, text)),
            timeout_s=wanted.timeout_s,
            sudo=wanted.sudo,
        )
    finally:
        done.set()
        watching.join()
