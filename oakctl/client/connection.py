"""HTTP over the root's Unix socket: bodies in, bodies or lines of JSON out, errors as OakError.

Belongs here: what every call has in common. Does not belong here: what is asked
(`client.root`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from oakctl.errors import ExitCode, OakError, Unreachable, UsageError, error_for
from oakctl.model import wire

# The root answers from its own database; what takes long is an operation or a stream.
CALL_TIMEOUT_S = 30.0
# A stream sends a line at least every five seconds, an empty one when there is no news.
STREAM_SILENCE_S = 20.0
# A connection that idles is closed by the root, perhaps in the moment in which the next call goes
# out on it; whether that call was heard is not known then. To connect anew costs next to nothing.
ONE_CALL_EACH = httpx.Limits(max_keepalive_connections=0)
CHUNK = 1 << 20
SLOWEST_DISK = 2_000_000.0  # bytes a second


def part(name: str) -> str:
    """One part of a path; raises UsageError for what no name looks like.

    Servers decode `%2F` before they split, so a slash would ask for something else.
    """
    if not name or "/" in name:
        raise UsageError(f"{name!r} is not a name", hint="use 1 to 30 of a-z, 0-9 and -")
    return quote(name, safe="")


class NoRoot(Unreachable):
    """Nobody listens where the root would."""


class Connection:
    """Calls to one root."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=ONE_CALL_EACH),
            base_url="http://root",
            timeout=httpx.Timeout(CALL_TIMEOUT_S),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the sockets."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> bytes:
        """The answer's body; raises the OakError that the root answered, or Unreachable."""
        content, headers = _encoded(body)
        try:
            answer = await self._http.request(
                method,
                path,
                content=content,
                headers=headers,
                params=query,
                timeout=timeout_s,
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_for(answer.status_code, answer.content)
        return answer.content

    async def send_file(self, method: str, path: str, file: Path) -> None:
        """Send a file as the body; the answer may take as long as keeping the file does."""
        timeout = file_timeout(file.stat().st_size)
        try:
            answer = await self._http.request(method, path, content=_chunks(file), timeout=timeout)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_for(answer.status_code, answer.content)

    async def lines(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: Any = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of a stream until the root ends it; an `error` in it is raised."""
        timeout = httpx.Timeout(CALL_TIMEOUT_S, read=STREAM_SILENCE_S)
        content, headers = _encoded(body)
        try:
            async with self._http.stream(
                method, path, params=query, timeout=timeout, content=content, headers=headers
            ) as answer:
                if answer.status_code >= 400:
                    _raise_for(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    if not line.strip():
                        continue
                    item: dict[str, Any] = json.loads(line)
                    if "error" in item and "exit_code" in item:
                        raise error_of(item)
                    yield item
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        cause = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError):
            return NoRoot(f"no root answers at {self.socket} ({cause})", hint="oakctl serve")
        return Unreachable(
            f"the root at {self.socket} broke off ({cause})", hint="oakctl status, then try again"
        )


def _encoded(body: Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    return wire.encode(body), {"Content-Type": "application/json"}


def file_timeout(size: int) -> httpx.Timeout:
    """For a file of `size` bytes: it is answered when all of it is on the root's disk. Pure."""
    return httpx.Timeout(CALL_TIMEOUT_S, read=CALL_TIMEOUT_S + size / SLOWEST_DISK)


def _chunks(file: Path) -> AsyncIterator[bytes]:
    async def read() -> AsyncIterator[bytes]:
        with file.open("rb") as opened:
            while piece := opened.read(CHUNK):
                yield piece

    return read()


def _raise_for(status: int, body: bytes) -> None:
    if status < 400:
        return
    try:
        raise error_of(json.loads(body))
    except (ValueError, TypeError, AttributeError):
        raise OakError(f"the root answered {status}: {body[:200]!r}") from None


def error_of(body: dict[str, Any]) -> OakError:
    """The error that the root answered with."""
    return error_for(
        int(body.get("exit_code", ExitCode.FAILED)),
        str(body.get("error", "the root failed")),
        str(body.get("hint", "")),
        tuple(str(line) for line in body.get("details", ())),
    )
