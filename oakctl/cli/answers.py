"""What the root cannot know and a person can: passwords, passphrases, whether a key is right.

Belongs here: recognising that an error asks for one of them, asking on the terminal, and telling
the root. Does not belong here: doing the work once more (who called), questions of other kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oakctl.cli import diagnostics
from oakctl.cli.asking import asked
from oakctl.errors import OakError
from oakctl.model.hosts import HostKey

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

UNKNOWN_KEY = "is not known"  # how `remote.hostkeys` says it
SUDO_ASKS = "sudo asks for a password"  # how `remote.privilege` says it
LOCKED_KEY = "is protected by a passphrase"  # how `remote.identity` says it
TRIES = 3  # for a passphrase: a wrong one is found out here, and locks nobody out
BEHIND = ", the jump host of "


def host_of(message: str) -> str:
    """The host that an error is about: its name stands first in what is said of it."""
    return message.partition(": ")[0].rpartition(BEHIND)[2]


def host_behind(message: str) -> str:
    """The host whose jump host an error is about; empty when it is about no jump host."""
    return message.partition(BEHIND)[2].partition(" ")[0].rstrip(":")


class Answers:
    """The questions of one command; a password for sudo is asked once for all of its hosts."""

    def __init__(self, client: RootClient) -> None:
        self._client = client
        self._password = ""
        self._tried: set[tuple[str, str]] = set()

    async def settle(self, host: str, message: str) -> bool:
        """Ask for what is missing; whether the work is worth another try.

        Each thing is asked once per host. False where nobody can be asked.
        """
        if not diagnostics.can_prompt():
            return False
        for words, work in (
            (LOCKED_KEY, self._unlock),
            (SUDO_ASKS, self._give_password),
            (UNKNOWN_KEY, self._trust),
        ):
            if words in message and (host, message) not in self._tried:
                self._tried.add((host, message))
                await work(host)
                return True
        return False

    async def settle_way(self, message: str) -> bool:
        """As `settle`, for a key of ours that is locked and a key of a jump host: what has to be
        known before the host itself can be asked about."""
        if LOCKED_KEY in message:
            return await self.settle(host_of(message), message)
        behind = host_behind(message)
        return bool(behind and UNKNOWN_KEY in message) and await self.settle(behind, message)

    async def _give_password(self, host: str) -> None:
        if not self._password:
            self._password = await asked(diagnostics.ask_password, host)
        await self._client.give_password(host, self._password)

    async def _unlock(self, host: str) -> None:
        await unlock(self._client, host)

    async def _trust(self, host: str) -> None:
        key = await self._client.access.key(host)
        if not await asked(agreed, host, key):
            raise OakError(f"{key.machine}: its key is not trusted, nothing was done")
        await self._client.access.trust(host, key.fingerprint)


async def unlock(client: RootClient, host: str) -> None:
    """Ask for the passphrase of every locked key on the way to a host.

    Raises OakError when one was wrong three times, or nothing was typed.
    """
    reach = await client.access.reach(host)
    files = dict.fromkeys(file for machine in reach.machines for file in machine.locked)
    for file in files:
        for left in range(TRIES - 1, -1, -1):
            passphrase = await asked(diagnostics.ask_passphrase, file)
            try:
                await client.access.unlock(file, passphrase)
                break
            except OakError as error:
                if not left:
                    raise
                diagnostics.say(error.message)


def agreed(host: str, key: HostKey) -> bool:
    """Show the key and ask; a changed one takes the host's name to be typed."""
    diagnostics.say(f"{key.machine} ({key.where}) shows the key {key.presented}")
    if key.state != "changed":
        return diagnostics.ask("Trust it from now on?")
    diagnostics.say(f"until now it was {', '.join(key.stored)}, stored in {', '.join(key.files)}")
    diagnostics.say("either the machine was set up anew, or another one answers in its place")
    return diagnostics.ask_name(f"If it was set up anew, type {host}: ", host)
