"""The keeper's socket: one JSON object per line, asked and answered.

Belongs here: the protocol, both ends. A host's own `oakctl-node unit` speaks the unit part of
it. Does not belong here: what a request does (`keeper`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from oakctl.errors import DeadlineExceeded, OakError, Unreachable, error_for

log = logging.getLogger("oakctl.lab.control")

LONGEST_LINE = 1024 * 1024

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, handler: Handler) -> asyncio.Server:
    """Answer requests on `path` (0600) until the server is closed."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(handler, line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            log.info("a client went away: %s", error)
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(on_connection, path, limit=LONGEST_LINE)
    path.chmod(0o600)
    return server


async def _answer(handler: Handler, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("not an object")
        return {"ok": True, **await handler(request)}
    except OakError as error:
        return {"ok": False, "error": error.message, "hint": error.hint, "code": error.exit_code}
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("request %r: %r", line[:200], error)
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


async def ask(path: Path, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """The keeper's answer; raises Unreachable, DeadlineExceeded, or the error it answers with."""
    try:
        line = await asyncio.wait_for(_exchange(path, request), timeout_s)
    except TimeoutError as error:
        text = f"the lab's keeper did not answer {request['op']} within {timeout_s:.0f} s"
        raise DeadlineExceeded(text, hint="oakctl lab up") from error
    except OSError as error:
        raise Unreachable(
            f"the lab's keeper does not run ({error})", hint="oakctl lab up"
        ) from error
    answer: dict[str, Any] = json.loads(line) if line else {"error": "the keeper hung up"}
    if not answer.get("ok"):
        raise error_for(answer.get("code", 1), answer["error"], answer.get("hint", ""), ())
    return answer


async def _exchange(path: Path, request: dict[str, Any]) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


def answers(path: Path) -> bool:
    """Whether somebody listens on `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
