"""A root that stays while an image is made ready for it.

Belongs here: asking the root something now and then. `docker save` and the packing of a large layer
take minutes in which nothing is asked of it, and a root that nobody asks anything leaves. Does not
belong here: what is made ready (`image_source`, `image_push`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from oakctl.client.root import RootClient
from oakctl.errors import OakError

ASK_EVERY_S = 5.0


@contextlib.asynccontextmanager
async def attended(client: RootClient) -> AsyncIterator[None]:
    """The root does not take itself for idle within this block."""
    asking = asyncio.ensure_future(_ask(client))
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _ask(client: RootClient) -> None:
    while True:
        await asyncio.sleep(ASK_EVERY_S)
        with contextlib.suppress(OakError):  # the work itself will say so, should it be gone
            await client.status()
