"""The tunnel, and asyncssh under the policy for host keys: real servers, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import DeadlineExceeded, Unreachable
from oakctl.remote import tunnel
from oakctl.remote.tunnel import Tunnel
from tests.remote.servers import Machines, free_port

DEADLINE_S = 20.0


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that says everything twice; its port."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data + data)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


async def until_failed(tunnel: Tunnel, words: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while words not in tunnel.last_error or tunnel.connected:
            await asyncio.sleep(0.01)


async def test_unknown_host_key_is_refused_with_its_fingerprint(machines: Machines) -> None:
    machine = machines.make()
    with pytest.raises(Unreachable) as caught:
        async with tunnel.connect(machine.target()):
            pass
    assert caught.value.message == (
        f"host key of pi (127.0.0.1:{machine.port}) is not known: "
        f"ssh-ed25519 {machine.host_key.get_fingerprint()}"
    )
    assert "--accept-new" in caught.value.hint
    assert machine.logins == []
    assert not paths.known_hosts().exists()


async def test_accepted_once_then_strict(machines: Machines) -> None:
    machine = machines.make()
    async with tunnel.connect(machine.target(accept_new=True)) as connection:
        assert (await connection.run("echo here")).stdout == "here\n"
    async with tunnel.connect(machine.target()):
        pass
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    before = paths.known_hosts().read_bytes()
    with pytest.raises(Unreachable, match="has changed: stored ssh-ed25519 SHA256:"):
        async with tunnel.connect(machine.target(accept_new=True)):
            pass
    assert paths.known_hosts().read_bytes() == before


async def test_wrong_user_key(machines: Machines) -> None:
    machine = machines.make()
    other = machine.folder / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    with pytest.raises(Unreachable) as caught:
        async with tunnel.connect(machine.target(accept_new=True, identity_file=str(other))):
            pass
    assert str(other) in caught.value.message
    assert "anna" in caught.value.message


async def test_nobody_listens(machines: Machines) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} refuses connections"):
        async with tunnel.connect(machines.make().target(port=port)):
            pass


async def test_hop_is_checked_like_the_target(machines: Machines) -> None:
    hop, machine = machines.make(), machines.make()
    jump = (f"hopper@127.0.0.1:{hop.port}",)
    async with tunnel.connect(machine.target(accept_new=True, jump=jump)) as connection:
        assert (await connection.run("echo here")).stdout == "here\n"
    assert (hop.logins[-1], machine.logins[-1]) == ("hopper", "anna")
    hop.restart(asyncssh.generate_private_key("ssh-ed25519"))
    machine.logins.clear()
    with pytest.raises(Unreachable, match=r"jump host of pi \(127.0.0.1:\d+\) has changed"):
        async with tunnel.connect(machine.target(accept_new=True, jump=jump)):
            pass
    assert machine.logins == []


async def test_hop_that_does_not_reach_the_target(machines: Machines) -> None:
    hop = machines.make()
    jump = (f"hopper@127.0.0.1:{hop.port}",)
    with pytest.raises(Unreachable, match="not reached from the jump host"):
        async with tunnel.connect(hop.target(accept_new=True, jump=jump, port=free_port())):
            pass


async def test_carries_and_survives_a_restart_of_the_server(machines: Machines, echo: int) -> None:
    machine = machines.make()
    carrier = Tunnel(machine.target(accept_new=True), "127.0.0.1", echo)
    await carrier.start()
    port = carrier.local_port
    try:
        await carrier.wait_connected(DEADLINE_S)
        assert await ask(port, b"ab") == b"abab"
        await asyncio.to_thread(machine.stop)
        await until_failed(carrier, "refuses connections")
        assert await ask(port, b"") == b""  # accepted and closed, not refused
        await asyncio.to_thread(machine.start)
        await carrier.wait_connected(DEADLINE_S)
        assert await ask(port, b"cd") == b"cdcd"
        assert (carrier.local_port, carrier.last_error) == (port, "")
    finally:
        await carrier.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    with pytest.raises(ConnectionRefusedError):
        await ask(port, b"")


async def test_close_ends_what_is_being_carried(
    machines: Machines, echo: int, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = Tunnel(machines.make().target(accept_new=True), "127.0.0.1", echo)
    await carrier.start()
    await carrier.wait_connected(DEADLINE_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", carrier.local_port)
    writer.write(b"x")
    assert await reader.readexactly(2) == b"xx"
    await carrier.close()
    await carrier.close()
    assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    writer.close()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_says_that_nothing_listens_at_the_far_end(machines: Machines) -> None:
    port = free_port()
    carrier = Tunnel(machines.make().target(accept_new=True), "127.0.0.1", port)
    await carrier.start()
    try:
        await carrier.wait_connected(DEADLINE_S)
        assert await ask(carrier.local_port, b"") == b""
        assert f"127.0.0.1:{port} is not reached from there" in carrier.last_error
    finally:
        await carrier.close()


async def test_waiting_says_why(machines: Machines) -> None:
    carrier = Tunnel(machines.make().target(), "127.0.0.1", 1)
    await carrier.start()
    try:
        await until_failed(carrier, "is not known")
        with pytest.raises(DeadlineExceeded) as caught:
            await carrier.wait_connected(0.01)
        assert "is not known" in caught.value.details[0]
    finally:
        await carrier.close()


def test_delay_grows_and_starts_anew_after_a_steady_connection() -> None:
    delays = [tunnel.FIRST_DELAY_S]
    for _ in range(6):
        delays.append(tunnel.next_delay(delays[-1], up_s=1.0))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert tunnel.next_delay(5.0, up_s=60.0) == 0.2


async def test_a_client_that_goes_leaves_nothing_behind(machines: Machines, echo: int) -> None:
    carrier = Tunnel(machines.make().target(accept_new=True), "127.0.0.1", echo)
    await carrier.start()
    await carrier.wait_connected(DEADLINE_S)
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection("127.0.0.1", carrier.local_port)
    writer.write(b"x")
    assert await reader.readexactly(2) == b"xx"
    writer.transport.abort()
    async with asyncio.timeout(DEADLINE_S):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    await carrier.close()
