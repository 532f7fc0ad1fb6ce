"""The SSH server of one lab host: logins by the lab's key, a real shell, SFTP, forwarding.

Belongs here: what sshd does. Does not belong here: the host's units (`supervisor`), or keys
(`keys`).
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import cast

import asyncssh
from asyncssh.connection import SSHConnection

from oakctl.lab.children import Child
from oakctl.lab.description import SSH_PORT, HostRecord, LabFiles, user_name
from oakctl.lab.feed import feed, resize
from oakctl.lab.place import Place

LONGEST_LOGGED = 400  # characters of a command
CONNECT_S = 30.0


class SshLog:
    """`ssh.log`: one line per login, command and forward, with the host's name."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        path.chmod(0o600)

    def line(self, host: str, event: str, text: str = "") -> None:
        """Append a line; `text` came from a client, so it is quoted."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        quoted = json.dumps(text[:LONGEST_LOGGED]) if text else ""
        self._file.write(f"{at} {host} {event} {quoted}".rstrip() + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SshHost:
    """Listens on the host's address until it is closed."""

    def __init__(
        self,
        files: LabFiles,
        record: HostRecord,
        environment: Mapping[str, str],
        place: Place,
        ssh_log: SshLog,
    ) -> None:
        self._files = files
        self.record = record
        self.environment = environment
        self.place = place
        self.log = ssh_log
        self.connections: set[SSHConnection] = set()
        self.sessions: dict[SSHConnection, set[Child]] = {}
        self._listener: asyncssh.SSHAcceptor | None = None

    async def open(self) -> None:
        """Begin to listen; raises OSError when the address is taken."""
        home = os.fsencode(self._files.home(self.record.name))
        self._listener = await asyncssh.listen(
            self.record.address,
            SSH_PORT,
            server_factory=lambda: _Server(self),
            server_host_keys=[str(self._files.host_key(self.record.name))],
            authorized_client_keys=str(self._files.user_key.with_suffix(".pub")),
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            process_factory=self.run,
            sftp_factory=lambda channel: _Sftp(self, channel, home),
            allow_scp=True,
            encoding=None,
            server_version="oakctl_lab",
        )

    async def close(self) -> None:
        """Stop listening, drop every connection and kill what its sessions run."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for connection in tuple(self.connections):
            connection.abort()
            self.forget(connection)
        if listener is not None:
            # From Python 3.12 on this waits for the connections too, so they go first.
            await listener.wait_closed()

    def forget(self, connection: SSHConnection) -> None:
        """The connection is gone: so is all that it ran in its process groups."""
        self.connections.discard(connection)
        for child in self.sessions.pop(connection, set()):
            child.signal_group(signal.SIGKILL)

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One session: a command through `/bin/sh -c`, or the user's shell."""
        if process.subsystem is not None:
            process.exit(1)
            return
        command = process.command
        self.log.line(self.record.name, "shell" if command is None else "exec", command or "")
        argv = [self.environment["SHELL"]] if command is None else ["/bin/sh", "-c", command]
        connection = process.channel.get_connection()
        start = self._on_terminal if process.term_type else self._on_pipes
        child, stdin = await start(process, argv)
        session = self.sessions.setdefault(connection, set())
        session.add(child)
        feeding = asyncio.create_task(feed(process.stdin, stdin))
        try:
            await process.stdout.drain()
            await process.stderr.drain()
            code = await asyncio.shield(child.exit_code)
        finally:
            session.discard(child)
            feeding.cancel()
            if not child.exit_code.done():
                child.signal_group(signal.SIGKILL)
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)

    def _directory(self) -> Path:
        return self._files.home(self.record.name)

    async def _on_pipes(
        self, process: asyncssh.SSHServerProcess[bytes], argv: list[str]
    ) -> tuple[Child, int]:
        theirs, ours = os.pipe()
        try:
            child = self.place.spawn(
                argv,
                environment=self.environment,
                directory=self._directory(),
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        finally:
            os.close(theirs)
        popen = child.popen
        # The end of one stream must not end the channel: the other may still have something.
        await process.redirect(stdout=popen.stdout, stderr=popen.stderr, send_eof=False)
        return child, ours

    async def _on_terminal(
        self, process: asyncssh.SSHServerProcess[bytes], argv: list[str]
    ) -> tuple[Child, int]:
        ours, theirs = os.openpty()
        columns, rows, *_ = process.term_size
        resize(theirs, columns, rows)
        try:
            child = self.place.spawn(
                argv,
                environment={**self.environment, "TERM": process.term_type or "dumb"},
                directory=self._directory(),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                terminal=True,
            )
        finally:
            os.close(theirs)
        await process.redirect(stdout=os.dup(ours))
        return child, ours


class _Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._host.forget(self._connection)

    def begin_auth(self, username: str) -> bool:
        if username != user_name() and self._connection is not None:
            # No key of ours opens another account.
            self._host.log.line(self._host.record.name, "refused user", username)
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys(""))
        return True

    def auth_completed(self) -> None:
        assert self._connection is not None
        peer = self._connection.get_extra_info("peername")[0]
        user = self._connection.get_extra_info("username")
        self._host.log.line(self._host.record.name, f"login from {peer}", user)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool | Awaitable[asyncssh.SSHTCPSession[bytes]]:
        place = self._host.place
        allowed = place.may_reach(dest_host)
        event = "forward to" if allowed else "refused forward to"
        self._host.log.line(self._host.record.name, event, f"{dest_host}:{dest_port}")
        opened = place.socket() if allowed else None
        # asyncssh itself would connect from this process's network.
        return allowed if opened is None else _forwarded(opened, dest_host, dest_port)


async def _forwarded(opened: socket.socket, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
    """A connection by a socket of the host's own network; raises ChannelOpenError."""
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.sock_connect(opened, (host, port)), CONNECT_S)
        _, peer = await loop.create_connection(asyncssh.SSHForwarder, sock=opened)
    except (OSError, TimeoutError) as error:
        opened.close()
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
    # Its own type says nothing of it, but it is what asyncssh forwards by.
    return cast("asyncssh.SSHTCPSession[bytes]", asyncssh.SSHForwarder(peer))


class _Sftp(asyncssh.SFTPServer):
    """The real file system; relative paths begin in the host's home directory."""

    def __init__(self, host: SshHost, channel: asyncssh.SSHServerChannel[bytes], home: bytes):
        super().__init__(channel)
        self._home = home
        host.log.line(host.record.name, "sftp")

    def map_path(self, path: bytes) -> bytes:
        return posixpath.join(self._home, path)
