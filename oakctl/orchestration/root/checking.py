"""Looking at hosts, all at once, without changing any.

Belongs here: asking them side by side, and what a host that does not answer counts as. Does not
belong here: the rules (`remote.preflight`, `remote.fleet_check`, `remote.reach_rules`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from oakctl.errors import OakError
from oakctl.model.config import BUS_PORT
from oakctl.model.views import HostCheck, HostFinding, HostMachine, HostView
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import fleet_check, python_cache, reach_rules, residence, threads
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import BLOCK, NOTE, in_order
from oakctl.remote.route import route
from oakctl.remote.target import Target

T = TypeVar("T")
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
        answers = await side_by_side(hosts, lambda host: self._ask(host, accept_new))
        others = tuple(host.name for host in hosts if host.name != orchestrator)
        reached = {orchestrator: others} if orchestrator else {}
        tried = await self.reach(hosts, answers, reached, accept_new, tell_all=True)
        remarks = await asyncio.to_thread(unheeded, hosts)
        return self.findings(hosts, answers, [*tried, *remarks])

    def findings(
        self,
        hosts: Sequence[HostView],
        answers: Sequence[HostFacts | OakError],
        tried: Sequence[HostFinding] = (),
    ) -> HostCheck:
        """What the answers of `hosts`, in their order, amount to, with what else was `tried`."""
        facts = {h.name: a for h, a in zip(hosts, answers, strict=True) if isinstance(a, HostFacts)}
        given = [host.name for host in hosts if self._passwords.of(host.name)]
        roles = {host.name: host.role for host in hosts}
        archives = python_cache.listed()  # a few small files
        # Who listens on a port is seen by the superuser alone; on these it is our own bus.
        buses = {name for name, role in roles.items() if "orchestrator of" in role}
        found = [
            each
            for each in fleet_check.check(facts, passwords=given, roles=roles, archives=archives)
            if not (each.topic == "port" and each.host in buses)
        ]
        silent = [
            HostFinding(host.name, BLOCK, "ssh", _own(host.name, answer), answer.hint)
            for host, answer in zip(hosts, answers, strict=True)
            if isinstance(answer, OakError)
        ]
        asking = [n for n, f in facts.items() if residence.needs_password(f) and n not in given]
        return HostCheck(
            tuple(host.name for host in hosts),
            tuple(in_order([*silent, *tried, *found])),
            tuple(asking),
            tuple(_machine(name, found) for name, found in facts.items()),
        )

    async def reach(
        self,
        hosts: Sequence[HostView],
        answers: Sequence[HostFacts | OakError],
        wanted: Mapping[str, Collection[str]],
        accept_new: bool,
        *,
        tell_all: bool = False,
    ) -> list[HostFinding]:
        """Whether hosts reach the bus that is, or will be, on others, tried between them.

        `wanted`: orchestrator's host → its workers' hosts, all by their names in `hosts`, whose
        `answers` are given in their order. Those that did not answer are left out: that is a
        finding of its own. `tell_all`: those that do reach it are told too.
        """
        facts = {h.name: a for h, a in zip(hosts, answers, strict=True) if isinstance(a, HostFacts)}
        views = {host.name: host for host in hosts}
        found: list[HostFinding] = []
        for hub, workers in wanted.items():
            # One after the other: two hubs by different names may be one machine with one port.
            known = [views[name] for name in workers if name in facts and name != hub]
            if hub not in facts or not known:
                continue
            failed = await self._installer.reach(known, views[hub], accept_new, facts[hub])
            found += failed
            if tell_all:
                told = {finding.host for finding in failed}
                found += [_reaches(each.name, hub) for each in known if each.name not in told]
        return found

    def _ask(self, host: HostView, accept_new: bool) -> HostFacts | OakError:
        try:
            return self._installer.facts(host, accept_new)
        except OakError as error:
            return error


async def side_by_side(hosts: Sequence[HostView], ask: Callable[[HostView], T]) -> list[T]:
    """What `ask`, which blocks, gives for each host; several are asked at a time."""
    asked = threads.side_by_side([partial(ask, host) for host in hosts], AT_ONCE, "check")
    # Whoever goes away cancels those whose turn has not come.
    return await asyncio.gather(*(asyncio.wrap_future(each) for each in asked))


def _machine(host: str, facts: HostFacts) -> HostMachine:
    return HostMachine(
        host,
        facts.architecture,
        facts.system,
        facts.cpus,
        facts.memory_mb,
        facts.device,
        len(facts.gpus),
        bool(facts.docker.version),
    )


def _reaches(host: str, hub: str) -> HostFinding:
    return HostFinding(host, NOTE, reach_rules.TOPIC, f"it reaches port {BUS_PORT} of {hub}")


def unheeded(hosts: Sequence[HostView]) -> list[HostFinding]:
    """What ssh_config says of hosts and is not gone by."""
    found = []
    for host in hosts:
        try:
            way = route(Target.of(host))
        except OakError:
            continue  # it was not reached either, for this reason
        for remark in dict.fromkeys(each for machine in way for each in machine.remarks):
            text = f"ssh_config is not followed in this: {remark}"
            found.append(HostFinding(host.name, NOTE, "ssh", text))
    return found


def _own(host: str, error: OakError) -> str:
    return " ".join((error.message.removeprefix(f"{host}: "), *error.details[:2]))
