"""Sessions with instances, each a WebSocket.

The first message is the request (JSON), the answer to it `{"opened": true}` or an error as every
route gives it. Then each message, both ways, is one event of `model.sessions`. The root takes
from one side what the other takes from it, so nothing piles up here.
"""

from __future__ import annotations

import asyncio
import json

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from oakctl.api.errors import body_of, unexpected
from oakctl.errors import OakError, UsageError
from oakctl.model import sessions, wire
from oakctl.model.sessions import Broken, Closed, Data, Ended, Resized, SessionRequest
from oakctl.orchestration.root.root import Root
from oakctl.orchestration.sessions import Session, stop

router = APIRouter(prefix="/v1", tags=["sessions"])

GONE = "oakctl event ls --limit 20"


@router.websocket("/sessions")
async def session(socket: WebSocket) -> None:
    """Open a session and carry it to its end."""
    root: Root = socket.app.state.root
    await socket.accept()
    try:
        try:
            await _serve(root, socket)
        except OakError as error:
            await socket.send_text(json.dumps(body_of(error)))
        except WebSocketDisconnect:
            return  # the client went away: the session is closed by now
        except Exception as error:  # noqa: BLE001  # the boundary: as of every route
            await socket.send_text(json.dumps(unexpected(error)))
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):
        return  # it went while it was told


async def _serve(root: Root, socket: WebSocket) -> None:
    try:
        request = wire.decode(await socket.receive_text(), SessionRequest)
    except (wire.Malformed, KeyError) as error:
        raise UsageError(
            "the request is not what this version of oakctl understands",
            hint="oakctl version",
            details=(str(error),),
        ) from error
    async with root.sessions.open(request) as opened:
        await socket.send_text(json.dumps({"opened": True}))
        await _carry(socket, opened)


async def _carry(socket: WebSocket, opened: Session) -> None:
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(_outward(socket, opened)), loop.create_task(_inward(socket, opened))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        await stop(*tasks)


async def _outward(socket: WebSocket, opened: Session) -> None:
    """What the instance's side says, to its last word."""
    while True:
        try:
            event = await opened.read()
        except Broken as broken:
            event = Ended(255, f"the session broke off: {broken}", GONE)
        await socket.send_bytes(sessions.encode_event(event))
        if isinstance(event, Ended):
            return


async def _inward(socket: WebSocket, opened: Session) -> None:
    """What the client says, until it goes (WebSocketDisconnect) or the session cannot go on."""
    try:
        while True:
            event = sessions.decode_event(await socket.receive_bytes())
            if isinstance(event, Data):
                await opened.write(event.channel, event.data)
            elif isinstance(event, Closed):
                await opened.close_channel(event.channel)
            elif isinstance(event, Resized):
                await opened.resize(event.rows, event.columns)
    except Broken:
        await asyncio.Event().wait()  # the other direction says it
