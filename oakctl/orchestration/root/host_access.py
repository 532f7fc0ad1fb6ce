"""How hosts are reached: their way, the keys they show, and the passphrases of ours.

Belongs here: answers for the operator about SSH. Does not belong here: the rules themselves
(`remote`), work on hosts (`root.installer`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh

from oakctl.errors import NotFound, OakError
from oakctl.model.hosts import HostKey, HostReach, Machine
from oakctl.model.views import HostView
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import hostkeys, identity, keyscan
from oakctl.remote.keyscan import Presented
from oakctl.remote.route import route
from oakctl.remote.target import Target


class HostAccess:
    """`host` looks a host up by its name, and raises NotFound."""

    def __init__(self, host: Callable[[str], Awaitable[HostView]], passphrases: Passwords) -> None:
        self._host = host
        self._passphrases = passphrases

    async def reach(self, name: str) -> HostReach:
        """The way to a host; nothing is connected to. Raises UsageError."""
        target = await self._target(name)
        return HostReach(name, await asyncio.to_thread(_machines, target))

    async def key(self, name: str) -> HostKey:
        """What key it shows, or the first machine on the way that is not trusted."""
        return _key(await keyscan.look(await self._target(name)))

    async def trust(self, name: str, fingerprint: str) -> HostKey:
        """Trust the key that `key` has shown; raises Conflict when it is another one by now."""
        return _key(await keyscan.trust(await self._target(name), fingerprint))

    async def unlock(self, file: str, passphrase: str) -> None:
        """Keep the passphrase of a private key; raises OakError when it does not open it."""
        path = Path(file).expanduser()
        try:
            if passphrase:
                await asyncio.to_thread(identity.unlock, path, passphrase)
        except FileNotFoundError as error:
            raise NotFound(f"there is no key {path}", hint="ls ~/.ssh") from error
        except OSError as error:
            raise OakError(f"the key {path} cannot be read: {error.strerror}") from error
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
            raise OakError(f"the passphrase does not open {path}") from error
        self._passphrases.give(str(path), passphrase)

    async def _target(self, name: str) -> Target:
        return Target.of(await self._host(name), passphrases=self._passphrases.of)


def _machines(target: Target) -> tuple[Machine, ...]:
    return tuple(_machine(each) for each in route(target))


def _machine(found: Target) -> Machine:
    return Machine(
        found.name,
        found.address,
        found.port,
        found.login,
        found.named_keys,
        found.proxy_command,
        dict(found.origins),
        found.remarks,
        tuple(str(file) for file in found.locked_keys()),
    )


def _key(shown: Presented) -> HostKey:
    return HostKey(
        shown.machine.name,
        shown.machine.where,
        shown.state,
        hostkeys.describe(shown.key),
        shown.fingerprint,
        shown.stored,
        shown.files,
    )
