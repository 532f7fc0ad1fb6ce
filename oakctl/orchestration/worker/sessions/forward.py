"""A session that is a TCP connection to a port of an instance.

Belongs here: both directions with their ends. Each direction is closed by itself, as TCP does.
Does not belong here: listening (the client does).
"""

from __future__ import annotations

import asyncio
import contextlib

from oakctl.model.sessions import PIECE, STDIN, STDOUT, Broken, Closed, Data, Ended
from oakctl.orchestration.sessions import Session, stop

CONNECT_S = 10.0


async def run(session: Session, address: str, port: int) -> Ended:
    """Carry a connection until both directions have ended; raises Broken."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_S)
    except (OSError, asyncio.TimeoutError) as error:
        words = getattr(error, "strerror", None) or "it does not answer"
        return Ended(1, f"nothing listens on {address}:{port} ({words})")
    try:
        loop = asyncio.get_running_loop()
        both = (
            loop.create_task(_inward(session, writer)),
            loop.create_task(_outward(session, reader)),
        )
        try:
            await asyncio.gather(*both)
        finally:
            await stop(*both)
    except OSError as error:
        return Ended(1, f"the connection to {address}:{port} broke ({error.strerror or error})")
    finally:
        writer.close()
    return Ended()


async def _inward(session: Session, writer: asyncio.StreamWriter) -> None:
    while True:
        event = await session.read()
        if isinstance(event, Data) and event.channel == STDIN:
            writer.write(event.data)
            await writer.drain()
        elif isinstance(event, Closed):
            with contextlib.suppress(OSError):
                writer.write_eof()
            return
        elif isinstance(event, Ended):
            raise Broken("the other side ended it")


async def _outward(session: Session, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(PIECE):
        await session.write(STDOUT, data)
    await session.close_channel(STDOUT)
