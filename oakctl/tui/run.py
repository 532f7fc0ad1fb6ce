"""Running the app beside the root that it hosts.

Belongs here: what starts before the first screen and ends after the last. Does not belong here:
what is shown.
"""

from __future__ import annotations

import asyncio

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.errors import OakError
from oakctl.tui.app import FleetApp, OakApp


def run_fleet() -> int:
    """Show the fleet until the user leaves; returns the exit code."""
    return asyncio.run(_fleet())


async def _fleet() -> int:
    app = FleetApp(RootClient)
    done = asyncio.Event()
    # The first screen does not wait for the root, and the root ends after the last one.
    hosting = asyncio.create_task(_host(app, done))
    try:
        await app.run_async()
    finally:
        done.set()
        await hosting
    return app.return_code or 0


async def _host(app: OakApp, done: asyncio.Event) -> None:
    try:
        async with hosted_root():
            await done.wait()
    except OakError as error:
        app.tell(f"{error.message}  {error.hint}")
