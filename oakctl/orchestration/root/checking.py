"""Looking at hosts, all at once, without changing any.

Belongs here: asking them side by side, and what a host that does not answer counts as. Does not
belong here: the rules (`remote.preflight`, `remote.fleet_check`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from oakctl.errors import OakError
from oakctl.model.views import HostCheck, HostFinding, HostView
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import fleet_check, preflight, residence
from oakctl.remote.facts import HostFacts

T = TypeVar("T")
AT_ONCE = 20


class Checking:
    """Looks at hosts by SSH."""

    def __init__(self, installer: Installer, passwords: Passwords) -> None:
        self._installer = installer
        self._passwords = passwords

    async def check(self, hosts: Sequence[HostView], accept_new: bool) -> HostCheck:
        """All findings of all hosts; one that does not answer is a finding itself."""
        return self.findings(hosts, await side_by_side(hosts, lambda h: self._ask(h, accept_new)))

    def findings(
        self, hosts: Sequence[HostView], answers: Sequence[HostFacts | OakError]
    ) -> HostCheck:
        """What the answers of `hosts`, in their order, amount to."""
        facts = {h.name: a for h, a in zip(hosts, answers, strict=True) if isinstance(a, HostFacts)}
        given = [host.name for host in hosts if self._passwords.of(host.name)]
        # Who listens on a port is seen by the superuser alone; on these it is our own bus.
        buses = {host.name for host in hosts if "orchestrator of" in host.role}
        found = [
            each
            for each in fleet_check.check(facts, passwords=given)
            if not (each.topic == "port" and each.host in buses)
        ]
        silent = [
            HostFinding(host.name, preflight.BLOCK, "ssh", _own(host.name, answer), answer.hint)
            for host, answer in zip(hosts, answers, strict=True)
            if isinstance(answer, OakError)
        ]
        asking = [n for n, f in facts.items() if residence.needs_password(f) and n not in given]
        return HostCheck(
            tuple(host.name for host in hosts),
            tuple(preflight.in_order([*silent, *found])),
            tuple(asking),
        )

    def _ask(self, host: HostView, accept_new: bool) -> HostFacts | OakError:
        try:
            return self._installer.facts(host, accept_new)
        except OakError as error:
            return error


async def side_by_side(hosts: Sequence[HostView], ask: Callable[[HostView], T]) -> list[T]:
    """What `ask`, which blocks, gives for each host; several are asked at a time."""
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(AT_ONCE, "check")
    try:
        return await asyncio.gather(*(loop.run_in_executor(threads, ask, h) for h in hosts))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _own(host: str, error: OakError) -> str:
    return " ".join((error.message.removeprefix(f"{host}: "), *error.details[:2]))
