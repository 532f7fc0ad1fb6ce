"""Asking the root how hosts are reached, whose keys are believed, and for commands on them.

Belongs here: the calls. Does not belong here: what is asked of the user (`cli`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from oakctl.client.connection import Connection, part
from oakctl.model import wire
from oakctl.model.hosts import (
    HostEnded,
    HostKey,
    HostOutput,
    HostReach,
    HostRun,
    HostTrust,
    KeyPassphrase,
)

SCAN_TIMEOUT_S = 120.0  # every machine on the way may take its time


class HostAccess:
    """Every method raises the OakError the root answered; Unreachable when no root answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def reach(self, host: str) -> HostReach:
        """The way to a host; nothing is connected to."""
        body = await self._connection.call("GET", f"/v1/hosts/{part(host)}/reach")
        return wire.decode(body, HostReach)

    async def key(self, host: str) -> HostKey:
        """What key it shows, or the first machine on the way that is not trusted."""
        path = f"/v1/hosts/{part(host)}/key"
        body = await self._connection.call("GET", path, timeout_s=SCAN_TIMEOUT_S)
        return wire.decode(body, HostKey)

    async def trust(self, host: str, fingerprint: str) -> HostKey:
        """Trust the key that was shown; Conflict when it is another one by now."""
        path, wanted = f"/v1/hosts/{part(host)}/key", HostTrust(fingerprint)
        body = await self._connection.call("PUT", path, wanted, timeout_s=SCAN_TIMEOUT_S)
        return wire.decode(body, HostKey)

    async def unlock(self, file: str, passphrase: str) -> None:
        """Let the root use a private key; kept in its memory alone. OakError for a wrong one."""
        await self._connection.call("PUT", "/v1/key-passphrases", KeyPassphrase(file, passphrase))

    async def run(self, wanted: HostRun) -> AsyncGenerator[HostOutput | HostEnded, None]:
        """A command on hosts, line by line; closing it ends the command."""
        lines = self._connection.lines("/v1/host-runs", method="POST", body=wanted)
        async with aclosing(lines):
            async for line in lines:
                if "output" in line:
                    yield wire.from_plain(line["output"], HostOutput)
                elif "ended" in line:
                    yield wire.from_plain(line["ended"], HostEnded)
