"""Scripts on hosts of the fleet, by the root's host runs.

Belongs here: one script on some hosts side by side, its lines, what a failure means, and asking
hosts for their means. Does not belong here: what the scripts are.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from oakctl.chaos import means
from oakctl.chaos.means import Means
from oakctl.client.root import RootClient
from oakctl.errors import OakError, error_for
from oakctl.model.hosts import HostEnded, HostRun

SCRIPT_S = 90.0  # a full disk takes its time
MOST_LINES = 2000  # of one host; what says more says nothing that we asked for

Settle = Callable[[str, str], Awaitable[bool]]  # (host, error): whether it is worth another try


async def nobody_asked(host: str, message: str) -> bool:
    """Where no operator can answer anything."""
    return False


@dataclass
class Ran:
    """What a script said on one host. `fault`: it was not run there, or did not end well."""

    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    fault: OakError | None = None


class Hosts:
    """Runs scripts on hosts by name. `settle` asks the operator for what is missing."""

    def __init__(self, client: RootClient, settle: Settle = nobody_asked) -> None:
        self._client = client
        self._settle = settle

    async def means(self, names: Sequence[str]) -> dict[str, Means | OakError]:
        """What each host has, or why it does not say."""
        nonce = secrets.token_hex(8)
        answers = await self.run(names, means.QUESTIONS, arguments=(nonce,))
        found: dict[str, Means | OakError] = {}
        for name, ran in answers.items():
            read = means.parse(ran.out, nonce)
            if read is not None:
                found[name] = read
            else:
                found[name] = ran.fault or OakError(
                    f"{name}: its answer is cut off", hint=f"oakctl host check {name}"
                )
        return found

    async def run(
        self,
        names: Sequence[str],
        script: str,
        *,
        sudo: bool = False,
        arguments: Sequence[str] = (),
    ) -> dict[str, Ran]:
        """Run `script` by `sh` on each, side by side; every one of `names` has its answer."""
        command = ("sh", "-c", script, "sh", *arguments)
        left = tuple(dict.fromkeys(names))
        answers: dict[str, Ran] = {}
        while left:
            answers |= await self._once(HostRun(left, command, sudo, timeout_s=SCRIPT_S))
            faults = {name: answers[name].fault for name in left}
            left = tuple(
                [
                    name
                    for name, fault in faults.items()
                    if fault is not None and await self._settle(name, fault.message)
                ]
            )
        return answers

    async def _once(self, wanted: HostRun) -> dict[str, Ran]:
        answers = {name: Ran(fault=_silent(name)) for name in wanted.hosts}
        async with aclosing(self._client.access.run(wanted)) as events:
            async for event in events:
                ran = answers[event.host]
                if isinstance(event, HostEnded):
                    ran.fault = _fault(event, ran)
                elif len(ran.out) + len(ran.err) < MOST_LINES:
                    (ran.out if event.stream == "out" else ran.err).append(event.text)
        return answers


def _silent(name: str) -> OakError:
    return OakError(
        f"{name}: the root has not told what became of it", hint="see its log, root.log"
    )


def _fault(ended: HostEnded, ran: Ran) -> OakError | None:
    if not ended.error and ended.exit_code == 0:
        return None
    if ended.error:
        message = ended.error if ended.host in ended.error else f"{ended.host}: {ended.error}"
        return error_for(ended.exit_code, message, ended.hint, ended.details)
    said = [line for line in ran.err if line.strip()]
    reason = said[-1] if said else f"it ended with code {ended.exit_code}"
    return OakError(
        f"{ended.host}: {reason}", hint=f"oakctl host ssh {ended.host}", details=tuple(said[-6:-1])
    )
