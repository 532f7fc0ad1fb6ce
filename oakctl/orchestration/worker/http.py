"""One bounded HTTP GET: all that probes and metrics need of a client.

Belongs here: a request, a status, a body of limited size. Does not belong here: anything more;
a client library would cost the agent several MiB.
"""

from __future__ import annotations

import asyncio

LONGEST_BODY = 256 * 1024  # bytes


class BadAnswer(Exception):
    """What answered does not speak HTTP, or too much of it."""


async def get(address: str, port: int, path: str, timeout_s: float) -> tuple[int, bytes]:
    """(status, body); raises OSError, asyncio.TimeoutError or BadAnswer."""
    return await asyncio.wait_for(_get(address, port, path), timeout_s)


async def _get(address: str, port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        # HTTP/1.0: the server closes, so the body needs no decoding of chunks.
        request = f"GET {path} HTTP/1.0\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii", "replace"))
        answer = bytearray()
        while piece := await reader.read(65536):
            answer += piece
            if len(answer) > LONGEST_BODY:
                raise BadAnswer(f"more than {LONGEST_BODY} bytes")
    finally:
        writer.close()
    head, separator, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise BadAnswer("not an HTTP answer")
    return int(words[1]), body
