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
from oakctl.remote import fleet_check, preflight, python_cache, residence
from oakctl.remote.facts import HostFacts

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
        archives = await loop.run_in_executor(None, python_cache.listed)
        found = fleet_check.check(facts, passwords=given, archives=archives)
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


def _own(host: str, error: OakError) -> str:
    return " ".join((error.message.removeprefix(f"{host}: "), *error.details[:2]))
