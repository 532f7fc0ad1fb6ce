"""Sessions with containers: a real agent and a real Docker Engine."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from oakctl.model import sessions
from oakctl.model.service import Port
from oakctl.model.sessions import STDIN, Data, Ended, SessionRequest
from oakctl.orchestration import copying
from tests.worker.docker.stage import NAME, container, running
from tests.worker.docker_engine import DockerEngine
from tests.worker.sessions_by_hand import line_of, opened, rest_of
from tests.worker.stage import AgentProcess, Orchestrator, until

pytestmark = pytest.mark.slow
MIB = 1 << 20
SERVE = "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"


@pytest.fixture
async def up(agent: AgentProcess, orchestrator: Orchestrator) -> AgentProcess:
    """With one container that runs."""
    service = container(
        "/bin/busybox", "sh", "-c", SERVE, environment=("GREETING=good day",), listen=(Port(80),)
    )
    await running(agent, orchestrator, service)
    return agent


def shell(text: str, **changes: object) -> SessionRequest:
    command = ("/bin/busybox", "sh", "-c", text)
    return SessionRequest(NAME, sessions.EXEC, command=command, **changes)  # type: ignore[arg-type]


def packed(path: Path) -> bytes:
    stream = io.BytesIO()
    copying.pack(path, stream)
    return stream.getvalue()


async def test_commands_files_and_connections(
    up: AgentProcess, orchestrator: Orchestrator, tmp_path: Path
) -> None:
    async with opened(orchestrator, shell("echo $GREETING; echo oops >&2; exit 9")) as session:
        assert await rest_of(session) == (b"good day\n", b"oops\n", Ended(9))
    content = os.urandom(2 * MIB)
    async with opened(orchestrator, shell("cat", stdin=True)) as session:
        await session.write(STDIN, content[:MIB])
        got = b""
        while len(got) < MIB:
            event = await session.read()
            assert isinstance(event, Data)
            got += event.data
        await session.close_channel(STDIN)
        assert await rest_of(session) == (b"", b"", Ended(0))
    assert got == content[:MIB]
    tty = shell("stty size; echo $TERM; [ -t 0 ]", tty=True, rows=33, columns=77, term="vt100")
    async with opened(orchestrator, tty) as session:
        await session.resize(34, 78)
        out, _, last = await rest_of(session)
    assert last == Ended(0)
    assert out.split()[-1] == b"vt100"
    missing = SessionRequest(NAME, sessions.EXEC, command=("no-such-program",))
    async with opened(orchestrator, missing) as session:
        out, errors, last = await rest_of(session)
    assert last.code in (1, 126, 127)
    assert b"no-such-program" in out + errors + last.error.encode()

    source = tmp_path / "file"
    source.write_bytes(content)
    for path in ("data", "/data/renamed"):
        async with opened(
            orchestrator, SessionRequest(NAME, sessions.COPY_IN, path=path, stdin=True)
        ) as session:
            await session.write(STDIN, packed(source))
            await session.close_channel(STDIN)
            assert (await rest_of(session))[2] == Ended(0)
    for path in ("data/file", "/data/renamed"):
        async with opened(
            orchestrator, SessionRequest(NAME, sessions.COPY_OUT, path=path)
        ) as session:
            out, _, last = await rest_of(session)
        assert last == Ended(0)
        copying.unpack(io.BytesIO(out), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content
    async with opened(
        orchestrator, SessionRequest(NAME, sessions.COPY_OUT, path="no/such")
    ) as session:
        last = (await rest_of(session))[2]
    assert last.code == 1
    assert "no/such" in last.error

    async with opened(orchestrator, SessionRequest(NAME, sessions.FORWARD, port=80)) as session:
        await session.write(STDIN, b"GET / HTTP/1.0\r\n\r\n")
        await session.close_channel(STDIN)
        assert (await rest_of(session))[0].endswith(b"served\n")


async def test_a_device_is_not_taken_in(up: AgentProcess, orchestrator: Orchestrator) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        device = tarfile.TarInfo("disk")
        device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
        archive.addfile(device)
    request = SessionRequest(NAME, sessions.COPY_IN, path="data", stdin=True)
    async with opened(orchestrator, request) as session:
        await session.write(STDIN, stream.getvalue())
        await session.close_channel(STDIN)
        last = (await rest_of(session))[2]
    assert last.code == 1
    assert "neither a file" in last.error
    async with opened(orchestrator, shell("ls /data")) as session:
        assert (await rest_of(session))[0] == b""


async def test_a_command_of_a_session_that_breaks_is_ended(
    up: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    client = docker_engine.client
    (one,) = client.containers()

    def commands() -> list[str]:
        return [row[-1] for row in client.top(one["Id"])["Processes"]]

    async with opened(orchestrator, shell("echo up; sleep 100003")) as session:
        assert await line_of(session) == b"up\n"
        assert any("100003" in command for command in commands())
    await until(lambda: not any("100003" in command for command in commands()), "it to end")
