"""Which host key a machine presents, before anything is sent to it.

Belongs here: walking the way to a host up to the first machine that is not trusted, and what is
known of it. Does not belong here: the rule (`hostkeys`), who decides (the operator).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace

import asyncssh

from oakctl.errors import Conflict
from oakctl.remote import hostkeys
from oakctl.remote.hostkeys import KeyState
from oakctl.remote.route import route
from oakctl.remote.target import LOGIN_DEADLINE_S, Target
from oakctl.remote.tunnel import dialled


@dataclass(frozen=True)
class Presented:
    """A machine on the way to a host, and the key it shows."""

    machine: Target
    key: asyncssh.SSHKey
    state: KeyState
    stored: tuple[str, ...]  # type and fingerprint of each
    files: tuple[str, ...]  # where those stand

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return self.key.get_fingerprint()


async def look(target: Target) -> Presented:
    """The first machine on the way to `target` whose key is not trusted, or else the target.

    Stores nothing. Raises Unreachable.
    """
    *hops, last = await asyncio.to_thread(route, replace(target, accept_new=False))
    async with contextlib.AsyncExitStack() as stack:
        through: asyncssh.SSHClientConnection | None = None
        for hop in hops:
            shown = await _shown(hop, through)
            if shown.state != "trusted":
                return shown
            through = await stack.enter_async_context(dialled(hop, through))
        return await _shown(last, through)


async def trust(target: Target, fingerprint: str) -> Presented:
    """Trust the machine that `look` finds, if it (still) shows the key with this fingerprint.

    Raises Conflict where it shows another one, or one that is revoked; then nothing is stored.
    """
    shown = await look(target)
    if shown.state == "trusted":
        return shown
    if shown.state == "revoked":
        await asyncio.to_thread(shown.machine.admit, shown.key)  # raises, in words
    if shown.fingerprint != fingerprint:
        raise Conflict(
            f"{shown.machine.name} ({shown.machine.where}) shows {hostkeys.describe(shown.key)}, "
            f"not {fingerprint}: nothing was changed",
            hint="on the machine itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    await asyncio.to_thread(hostkeys.trust, *shown.machine.key_place, shown.key)
    return replace(shown, state="trusted")


async def _shown(machine: Target, through: asyncssh.SSHClientConnection | None) -> Presented:
    try:
        async with asyncio.timeout(LOGIN_DEADLINE_S):
            key = await asyncssh.get_server_host_key(
                machine.address,
                machine.port,
                tunnel=through or (),
                proxy_command=machine.proxy_words if machine.proxy_command else None,
                server_host_key_algs=list(machine.host_key_algorithms()),
                config=None,
            )
    except (OSError, asyncssh.Error) as error:
        raise machine.no_answer(error) from error
    if key is None:
        raise machine.no_answer(EOFError("it shows no host key"))
    keys = machine.host_keys
    return Presented(
        machine,
        key,
        keys.state(*machine.key_place, key),
        tuple(hostkeys.describe(each) for each in keys.trusted(*machine.key_place)),
        tuple(str(file) for file in keys.holders(*machine.key_place)),
    )
