"""Running the app beside the root that it hosts.

Belongs here: what starts before the first screen and ends after the last. Does not belong here:
what is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.demo.observer import DemoObserver
from oakctl.errors import OakError
from oakctl.tui.app import DemoApp, FleetApp, OakApp
from oakctl.tui.viewmodels.demo import DemoProgress

T = TypeVar("T")


def run_fleet(*, read_only: bool = False, begin_with_setup: bool = False) -> int:
    """Show the fleet until the user leaves; returns the exit code."""
    return asyncio.run(_fleet(read_only, begin_with_setup))


async def _fleet(read_only: bool, begin_with_setup: bool) -> int:
    settled = asyncio.Event()  # whether there is a root

    @asynccontextmanager
    async def connect() -> AsyncIterator[RootClient]:
        """That a root is on its way is no fault to be told of."""
        await settled.wait()
        async with RootClient() as root:
            yield root

    app = FleetApp(
        connect,
        setup=RootClient,
        read_only=read_only,
        begin_with_setup=begin_with_setup,
    )
    done = asyncio.Event()
    # The first screen does not wait for the root, and the root ends after the last one.
    hosting = asyncio.create_task(_host(app, settled, done))
    try:
        await app.run_async()
    finally:
        done.set()
        await hosting
    return app.return_code or 0


async def _host(app: OakApp, settled: asyncio.Event, done: asyncio.Event) -> None:
    try:
        async with hosted_root():
            settled.set()
            await done.wait()
    except OakError as error:
        app.tell(f"{error.message}  {error.hint}")
    finally:
        settled.set()


async def show_demo(
    play: Callable[[DemoObserver], Coroutine[Any, Any, T]],
    say: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
) -> tuple[T | None, int]:
    """Show what `play` does until it has ended; returns its result and the app's exit code.

    `stop` ends `play` with a result, or returns False where it is too early for one: then it is
    cancelled, and the result is None. Whatever ends the app, `play` is brought
    to its end; what it does after the screen is gone goes to `say`.
    """
    progress = DemoProgress()
    task = asyncio.create_task(play(progress))
    app = DemoApp(RootClient, progress, lambda: stop() or task.cancel())
    task.add_done_callback(lambda _: app.exit(return_code=app.return_code or 0))
    await app.run_async()
    if not task.done():
        progress.on_step = lambda name, state, seconds, message: (
            None if state == "running" else say(f"{name} {state} {message}")
        )
        if not stop():
            task.cancel()
    try:
        return await task, app.return_code or 0
    except asyncio.CancelledError:
        return None, app.return_code or 0
