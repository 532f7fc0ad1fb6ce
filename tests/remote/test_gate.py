"""The key of another operator's root on a real OpenSSH server: it leads to the bus alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import asyncssh
import pytest

from oakctl.remote import gate
from oakctl.remote.gate import Gate
from oakctl.remote.target import Target
from oakctl.remote.tunnel import connect
from tests.remote import real_sshd
from tests.remote.servers import free_port

pytestmark = pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")

REFUSED = "leads to the bus of a cluster and to nothing else"
PYTHON = "/usr/bin/python3"  # one that any user may run


@dataclass(frozen=True)
class Granted:
    """A host with a key on it that was made for a granted root."""

    target: Target
    prefix: PurePosixPath
    port: int  # where the bus would listen
    keys: Path
    key: Path

    def ssh(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                "ssh", "-F", "none", "-i", str(self.key), "-p", str(self.target.port),
                "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=ERROR", *words,
            ],
            input=stdin, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def login(self) -> str:
        return f"{self.target.user}@{self.target.address}"


@pytest.fixture
def granted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Granted]:
    folder = tmp_path_factory.mktemp("sshd")
    with real_sshd.server(folder) as target:
        home = Path("/home") / target.user
        prefix = PurePosixPath(home / "prefix")
        port = free_port()
        program = Path(gate.program_path(prefix))
        mark = Path(gate.mark_path(prefix, "rob"))
        mark.parent.mkdir(parents=True)
        mark.touch()
        program.write_bytes(gate.program(PYTHON, "127.0.0.1", port))
        program.chmod(0o755)
        key = folder / "rob"
        real_sshd.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
        keys = home / "authorized"
        with keys.open("a") as file:
            file.write(gate.key_line(prefix, public, "edge", "rob") + "\n")
        yield Granted(target, prefix, port, keys, key)


@asynccontextmanager
async def echoing(port: int):  # type: ignore[no-untyped-def]
    """What stands where the bus would be."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def test_it_carries_bytes_to_the_bus_until_it_is_revoked(granted: Granted) -> None:
    tunnel = Gate(replace(granted.target, identity_file=str(granted.key)), "", 0)
    await tunnel.start()
    try:
        async with echoing(granted.port):
            await tunnel.wait_connected(30)
            reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.local_port)
            sent = bytes(range(256)) * 4096
            writer.write(sent)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent

            Path(gate.mark_path(granted.prefix, "rob")).unlink()
            ended = subprocess.run(
                [sys.executable, "-"],
                input=gate.sessions_script(granted.prefix, "rob", end=True),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert ended.stdout.split()
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        # While its line is there still, nothing passes.
        said = granted.ssh(granted.login, gate.ASKED_FOR)
        assert "was revoked" in said.stderr
        # The session of others of that user goes on.
        assert subprocess.run(["pgrep", "-f", "sshd.*sshd_config"], check=False).returncode == 0
    finally:
        await tunnel.close()


def test_it_opens_no_shell_and_no_files(granted: Granted) -> None:
    for words in (
        (granted.login,),
        (granted.login, "id"),
        (granted.login, f"{gate.ASKED_FOR}; id"),
        ("-tt", granted.login),
        ("-s", granted.login, "sftp"),
    ):
        done = granted.ssh(*words, stdin="id\n")
        assert done.returncode != 0, words
        assert "uid=" not in done.stdout + done.stderr, words
    assert REFUSED in granted.ssh(granted.login, "id").stderr
    assert REFUSED in granted.ssh(granted.login).stderr


async def test_it_forwards_nothing(granted: Granted) -> None:
    """By the owner's key all of this can be had: what is listened on is there, and answers."""
    socket = f"/home/{granted.target.user}/socket"
    rob = replace(granted.target, identity_file=str(granted.key))

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(answer, socket)
    Path(socket).chmod(0o777)
    try:
        for target, may in ((granted.target, True), (rob, False)):
            async with connect(target) as there, echoing(granted.port):
                for way in (
                    lambda there=there: there.open_connection("127.0.0.1", granted.port),
                    lambda there=there: there.open_unix_connection(socket),
                    lambda there=there: there.forward_remote_port("127.0.0.1", 0, "x", 1),
                    lambda there=there: there.forward_remote_path(f"{socket}.new", "/x"),
                ):
                    assert await was_let(way) is may, (may, way)
    finally:
        server.close()


async def was_let(way: Callable[[], Awaitable[object]]) -> bool:
    try:
        await asyncio.wait_for(way(), 30)
    except (asyncssh.ChannelOpenError, asyncssh.ChannelListenError):
        return False
    return True


def test_only_an_ordinary_key_becomes_a_line(granted: Granted) -> None:
    for key in ("", "ssh-ed25519 A", 'ssh-ed25519 AAAA" x', "ssh-rsa " + "A" * 68, "a\nb"):
        with pytest.raises(ValueError, match="no ed25519 key"):
            gate.key_line(granted.prefix, key, "edge", "rob")
