"""Real SSH servers in this process: a real shell, real SFTP, in a thread with its own loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from oakctl.remote.target import Target

T = TypeVar("T")
DEADLINE_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Machine:
    """One SSH server. `noise` is what a talkative login shell prints before every command."""

    folder: Path
    client_key: asyncssh.SSHKey
    loop: asyncio.AbstractEventLoop
    host_key: asyncssh.SSHKey = field(
        default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519")
    )
    environment: dict[str, str] = field(default_factory=dict)
    noise: str = ""
    port: int = field(default_factory=free_port)
    logins: list[str] = field(default_factory=list)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    _acceptor: asyncssh.SSHAcceptor | None = None
    _connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(DEADLINE_S)

    def start(self) -> Machine:
        self._on_loop(self._start())
        return self

    def stop(self) -> None:
        self._on_loop(self._stop())

    def restart(self, host_key: asyncssh.SSHKey | None = None) -> None:
        self.stop()
        self.host_key = host_key or self.host_key
        self.start()

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for what a host does; the one place that polls."""
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    def target(self, **changes: Any) -> Target:
        values: dict[str, Any] = {
            "name": "pi",
            "address": "127.0.0.1",
            "port": self.port,
            "user": "anna",
            "identity_file": str(self.folder.parent / "id_ed25519"),
        }
        return Target(**(values | changes))

    async def _start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        machine = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                machine._connections.add(conn)
                self._conn = conn

            def connection_lost(self, exc: Exception | None) -> None:
                machine._connections.discard(self._conn)

            def begin_auth(self, username: str) -> bool:
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                if key != machine.client_key.convert_to_public():
                    return False
                machine.logins.append(username)
                return True

            def connection_requested(self, *args: object) -> bool:
                return True

        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=Server,
            server_host_keys=[self.host_key],
            process_factory=self._process,
            encoding=None,
            reuse_address=True,
        )

    async def _stop(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            # Before its processes end: a host that goes down tells nobody how they did.
            for connection in list(self._connections):
                connection.abort()
        for process in self.processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it ends at this very moment
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        self.processes.clear()
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            self.noise + command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.home,
            start_new_session=True,
            env={
                "HOME": str(self.home),
                "PATH": os.environ["PATH"],
                "USER": "anna",
                "SHELL": "/bin/sh",
                # Whatever this machine has, no test is let into its systemd.
                "OAKCTL_SUPERVISOR": "plain:/nowhere",
            }
            | self.environment,
        )
        self.processes.append(child)
        assert child.stdin
        assert child.stdout
        assert child.stderr
        feeding = asyncio.create_task(_feed(process.stdin, child.stdin))
        await asyncio.gather(
            _pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr)
        )
        code = await child.wait()
        feeding.cancel()
        process.exit(code)


async def _feed(source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _pump(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(65536):
        with contextlib.suppress(OSError, asyncssh.Error):
            sink.write(data)
            await sink.drain()


class Machines:
    """Makes machines, all in one thread; `close` ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key.write_private_key(folder / "id_ed25519")
        self._all: list[Machine] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh servers")
        self._thread.start()

    def make(self, **values: Any) -> Machine:
        folder = self._folder / f"machine{len(self._all)}"
        machine = Machine(folder, self.client_key, self._loop, **values)
        self._all.append(machine)
        return machine.start()

    def close(self) -> None:
        for machine in self._all:
            machine.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
