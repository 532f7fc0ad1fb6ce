"""Requests to real servers: answered, refused, hung up on, never answered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from oakctl.chaos.probing import Probing, probing
from oakctl.chaos.scenario import Probe
from oakctl.chaos.timeline import Request
from tests.waiting import until

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handle: Handle) -> AsyncIterator[int]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    made = await asyncio.start_server(closing, "127.0.0.1", 0)
    async with made:
        yield made.sockets[0].getsockname()[1]


async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


def answers(status: str) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return handle


async def ask(probe: Probe) -> Request:
    made = Probing(probe)
    try:
        return await made.ask()
    finally:
        await made.close()


async def test_each_request_has_a_connection_of_its_own() -> None:
    seen: list[object] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer)
        await answers("200 OK")(reader, writer)
        await reader.read()  # it could stay

    async with server(handle) as port, probing(url(port)) as made:
        assert made is not None
        await until("some", lambda: len(made.requests) >= 4)
    assert len(seen) >= len(made.requests)
    assert all(one.ok for one in made.requests)


def tcp(port: int, timeout_s: float = 30.0) -> Probe:
    return Probe("", f"127.0.0.1:{port}", 0.02, timeout_s)


def url(port: int, timeout_s: float = 30.0) -> Probe:
    return Probe(f"http://127.0.0.1:{port}/", "", 0.02, timeout_s)


@pytest.mark.parametrize(
    ("handle", "probe", "why"),
    [
        (waits, tcp, ""),
        (hangs_up, tcp, "hung up at once"),
        (answers("200 OK"), url, ""),
        (answers("404 Not Found"), url, ""),  # somebody is there who answers
        (answers("503 Busy"), url, "status 503"),
        (hangs_up, url, "RemoteProtocolError"),
    ],
)
async def test_what_came_of_a_request(
    handle: Handle, probe: Callable[[int], Probe], why: str
) -> None:
    async with server(handle) as port:
        found = await ask(probe(port))
    assert (found.ok, found.why[: len(why)]) == (not why, why)
    assert found.took_s >= 0


@pytest.mark.parametrize("probe", [tcp, url])
async def test_nobody_listens(probe: Callable[[int], Probe]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await ask(probe(free.getsockname()[1]))
    assert not found.ok
    assert "Error" in found.why


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    async with server(waits) as port:
        found = await ask(url(port, timeout_s=0.3))
    assert not found.ok
    assert found.why


async def test_asked_again_and_again_whether_earlier_ones_are_answered_or_not() -> None:
    async with server(waits) as port, probing(url(port, timeout_s=0.2)) as made:
        assert made is not None
        await until("several", lambda: len(made.requests) >= 3)
    assert not any(one.ok for one in made.requests)
    async with probing(None) as nothing:
        assert nothing is None
