"""Looking at hosts, all at once, without changing any.

Belongs here: asking them side by side, and what a host that does not answer counts as. Does not
belong here: the rules (`remote.preflight`, `remote.fleet_check`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from oakctl.errors import OakError
from oakctl.model.views import HostCheck, HostFinding, HostView
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import fleet_check, preflight, residence
from oakctl.remote.facts import HostFacts
from oakctl.remote.route import route
from oakctl.remote.target import Target

AT_ONCE = 20


class Checking:
    """Looks at hosts by SSH."""

    def __init__(self, installer: Installer, passwords: Passwords) -> None:
        self._installer = installer
        self._passwords = passwords

    async def check(self, hosts: Sequence[HostView], accept_new: bool) -> HostCheck:
        """All findings of all hosts; one that does not answer is a finding itself."""
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(AT_ONCE, "check")
        try:
            asked = [loop.run_in_executor(threads, self._ask, host, accept_new) for host in hosts]
            answers = await asyncio.gather(*asked)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        facts = {h.name: a for h, a in zip(hosts, answers, strict=True) if isinstance(a, HostFacts)}
        given = [host.name for host in hosts if self._passwords.of(host.name)]
        found = fleet_check.check(facts, passwords=given)
        silent = [
            HostFinding(host.name, preflight.BLOCK, "ssh", _own(host.name, answer), answer.hint)
            for host, answer in zip(hosts, answers, strict=True)
            if isinstance(answer, OakError)
        ]
        unheeded = await asyncio.to_thread(_unheeded, hosts)
        asking = [n for n, f in facts.items() if residence.needs_password(f) and n not in given]
        return HostCheck(
            tuple(host.name for host in hosts),
            tuple(preflight.in_order([*silent, *found, *unheeded])),
            tuple(asking),
        )

    def _ask(self, host: HostView, accept_new: bool) -> HostFacts | OakError:
        try:
            return self._installer.facts(host, accept_new)
        except OakError as error:
            return error


def _unheeded(hosts: Sequence[HostView]) -> list[HostFinding]:
    """What ssh_config says of hosts and is not gone by."""
    found = []
    for host in hosts:
        try:
            way = route(Target.of(host))
        except OakError:
            continue  # it was not reached either, for this reason
        for remark in dict.fromkeys(each for machine in way for each in machine.remarks):
            text = f"ssh_config is not followed in this: {remark}"
            found.append(HostFinding(host.name, preflight.NOTE, "ssh", text))
    return found


def _own(host: str, error: OakError) -> str:
    return " ".join((error.message.removeprefix(f"{host}: "), *error.details[:2]))
