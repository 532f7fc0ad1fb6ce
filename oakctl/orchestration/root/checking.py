"""Looking at hosts, all at once, without changing any.

Belongs here: asking them side by side, and what a host that does not answer counts as. Does not
belong here: the rules (`remote.preflight`, `remote.fleet_check`, `remote.reach_rules`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from oakctl.errors import OakError
from oakctl.model.views import HostCheck, HostFinding, HostView
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import fleet_check, python_cache, residence
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import BLOCK, in_order

AT_ONCE = 20


class Checking:
    """Looks at hosts by SSH."""

    def __init__(self, installer: Installer, passwords: Passwords) -> None:
        self._installer = installer
        self._passwords = passwords

    async def check(
        self, hosts: Sequence[HostView], accept_new: bool, orchestrator: str = ""
    ) -> HostCheck:
        """All findings of all hosts; one that does not answer is a finding itself.

        With the name of one of `hosts` as the `orchestrator`, the others try to reach it.
        """
        answers = await self._ask_all(hosts, accept_new)
        facts = {h.name: a for h, a in zip(hosts, answers, strict=True) if isinstance(a, HostFacts)}
        given = [host.name for host in hosts if self._passwords.of(host.name)]
        roles = {host.name: host.role for host in hosts}
        archives = await asyncio.to_thread(python_cache.listed)
        found = fleet_check.check(facts, passwords=given, roles=roles, archives=archives)
        silent = [
            HostFinding(host.name, BLOCK, "ssh", _own(host.name, answer), answer.hint)
            for host, answer in zip(hosts, answers, strict=True)
            if isinstance(answer, OakError)
        ]
        asking = [n for n, f in facts.items() if residence.needs_password(f) and n not in given]
        answering = [host for host in hosts if host.name in facts]
        reach = await self._reach(answering, accept_new, orchestrator, facts)
        return HostCheck(
            tuple(host.name for host in hosts),
            tuple(in_order([*silent, *reach, *found])),
            tuple(asking),
        )

    async def _ask_all(
        self, hosts: Sequence[HostView], accept_new: bool
    ) -> Sequence[HostFacts | OakError]:
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(AT_ONCE, "check")
        try:
            asked = [loop.run_in_executor(threads, self._ask, host, accept_new) for host in hosts]
            return await asyncio.gather(*asked)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _reach(
        self,
        hosts: Sequence[HostView],
        accept_new: bool,
        orchestrator: str,
        facts: Mapping[str, HostFacts],
    ) -> list[HostFinding]:
        hub = next((host for host in hosts if host.name == orchestrator), None)
        others = [host for host in hosts if host.name != orchestrator]
        if hub is None or not others:
            return []  # it does not answer, which is a finding of its own
        return await self._installer.reach(others, hub, accept_new, facts[orchestrator])

    def _ask(self, host: HostView, accept_new: bool) -> HostFacts | OakError:
        try:
            return self._installer.facts(host, accept_new)
        except OakError as error:
            return error


def _own(host: str, error: OakError) -> str:
    return " ".join((error.message.removeprefix(f"{host}: "), *error.details[:2]))
