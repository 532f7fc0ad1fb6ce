from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from oakctl.client import connection
from oakctl.client.connection import CALL_TIMEOUT_S, SLOWEST_DISK, Connection


async def test_a_large_file_has_longer_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    async def request(*_: Any, timeout: httpx.Timeout, **__: Any) -> httpx.Response:
        given["timeout"] = timeout
        return httpx.Response(200)

    calls = Connection(tmp_path / "root.sock")
    monkeypatch.setattr(calls._http, "request", request)
    for size in (0, 1 << 33):
        file = tmp_path / "file"
        with file.open("wb") as sparse:
            sparse.truncate(size)
        monkeypatch.setattr(connection, "_chunks", lambda _: b"")
        await calls.send_file("PUT", "/v1/artifacts/x", file)
        assert given["timeout"].read == CALL_TIMEOUT_S + size / SLOWEST_DISK
        assert given["timeout"].connect == CALL_TIMEOUT_S
    await calls.close()


async def test_a_root_that_closes_an_idle_connection_is_still_asked(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        await reader.read(1)  # it idled for too long just when the next call came on it
        writer.close()

    socket = tmp_path / "root.sock"
    async with await asyncio.start_unix_server(serve, str(socket)):
        calls = Connection(socket)
        for method in ("GET", "POST"):
            assert await calls.call(method, "/v1/status") == b"{}"
        await calls.close()
