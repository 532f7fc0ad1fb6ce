"""Making faults, listing and ending them.

Belongs here: the order of things for one call: the fleet is asked, the target looked up, its host
asked, and the scripts run. Does not belong here: any decision (the pure modules), asking the
operator (who called).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oakctl import paths
from oakctl.chaos import deeds, envelope, faults, means, possible, records, targets
from oakctl.chaos.faults import Fault, Kind
from oakctl.chaos.hosts import Hosts, Ran, Settle, nobody_asked
from oakctl.chaos.means import Means
from oakctl.chaos.possible import Here
from oakctl.chaos.power import Power
from oakctl.chaos.records import Healed, InForce
from oakctl.chaos.targets import Aim, Fleet
from oakctl.client.root import RootClient
from oakctl.errors import OakError
from oakctl.model.views import HostView

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Plan:
    """A fault that can be made, and where. `means` and scripts are empty for a lab's power."""

    fault: Fault
    aim: Aim
    scripts: tuple[tuple[str, str], ...] = ()  # (host, script)
    ends: tuple[tuple[str, str], ...] = ()  # (host, what ends it there)
    sudo: frozenset[str] = frozenset()  # hosts on which it is the superuser's
    offsets: tuple[tuple[str, float], ...] = ()  # host → its clock less ours, seconds

    @property
    def question(self) -> str:
        """What to ask before it is done: names, what follows, and until when."""
        host = "" if self.aim.host.name in self.fault.title else f" on host {self.aim.host.name}"
        ends = f", for {faults.span(self.fault.for_s)}" if self.fault.for_s else ""
        return f"{self.fault.title}{host}{ends}: {self.aim.consequence}. Do it?"


@dataclass(frozen=True)
class Made:
    """A fault that is in force, or has happened."""

    fault: Fault
    hosts: tuple[str, ...]
    at: float  # seconds since the epoch, by our clock


@dataclass(frozen=True)
class Overview:
    """What is in force in the fleet, and which hosts could not be asked."""

    found: tuple[InForce, ...]
    silent: tuple[OakError, ...] = ()


class Chaos:
    """Faults in the fleet of one root. Every method raises OakError in words."""

    def __init__(self, client: RootClient, power: Power, settle: Settle = nobody_asked) -> None:
        self._client = client
        self._power = power
        self._hosts = Hosts(client, settle)

    async def fleet(self) -> Fleet:
        """What the root knows."""
        return Fleet(
            await self._client.hosts(),
            await self._client.clusters(),
            await self._client.workers(),
            await self._client.instances(),
        )

    async def plan(self, fault: Fault) -> Plan:
        """Look the target up and its host over; nothing is changed. Raises what refuses it."""
        if fault.kind is Kind.KILL_INSTANCE:
            named = await self._client.instance(fault.target)  # short names, as everywhere
            fault = replace(fault, target=named.name)
        aim = targets.aim(await self.fleet(), fault)
        if fault.kind is Kind.POWER_CUT and aim.host.lab:
            return Plan(fault, aim)
        hosts = [host for host in (aim.host, aim.other) if host is not None]
        asked_at = time.time()
        answers = await self._hosts.means([host.name for host in hosts])
        now = (asked_at + time.time()) / 2
        found = {host.name: _told(answers[host.name]) for host in hosts}
        here = _here()
        for host in hosts:
            possible.require(fault, host, found[host.name], here)
        return Plan(
            fault,
            aim,
            tuple(_scripts(fault, aim, found).items()),
            tuple(_ends(fault, aim, found).items()),
            frozenset(name for name, each in found.items() if each.sudo),
            tuple((name, each.clock - now) for name, each in found.items() if each.clock),
        )

    async def inflict(self, plan: Plan) -> Made:
        """Make it so. Raises OakError when it is not: then nothing of it is left."""
        if not plan.scripts:
            began = time.time()  # it takes a moment, and nothing of that is to flatter anybody
            await self._power.cut(plan.aim.host, plan.fault.for_s)
            return Made(plan.fault, (plan.aim.host.name,), began)
        done: list[str] = []
        at = 0.0
        for host, script in plan.scripts:
            ran = (await self._hosts.run([host], script, sudo=host in plan.sudo))[host]
            if ran.fault is not None:
                await self._take_back(plan, done)
                raise ran.fault
            done.append(host)
            at = at or _happened(ran, dict(plan.offsets).get(host))
        return Made(plan.fault, tuple(done), at or time.time())

    async def _take_back(self, plan: Plan, hosts: Sequence[str]) -> None:
        """Half a fault is none: what was made on the first hosts ends now, not in time."""
        for host in hosts:
            await self._hosts.run([host], dict(plan.ends)[host], sudo=host in plan.sudo)

    async def overview(self) -> Overview:
        """Everything in force, on every host of the fleet that answers."""
        fleet = await self.fleet()
        cut = self._power.in_force()
        off = {each.node for each in cut}
        hosts = [host.name for host in fleet.nodes if host.name not in off]
        nonce = secrets.token_hex(8)
        answers, silent = await self._everywhere(hosts, records.LIST, nonce)
        found = list(cut)
        for name, ran in answers.items():
            found += records.in_force(name, ran.out, nonce)
        order = sorted(found, key=lambda each: (each.since, each.node))
        return Overview(tuple(order), tuple(silent))

    async def heal(self, names: Sequence[str] = ()) -> tuple[list[Healed], list[OakError]]:
        """End all that is in force on these nodes, or everywhere; and which did not answer."""
        fleet = await self.fleet()
        hosts = [targets.node(fleet, name) for name in names] or list(fleet.nodes)
        done: list[Healed] = []
        on: list[HostView] = []
        off = {each.node for each in self._power.in_force()}
        for host in hosts:
            done += await self._power.heal(host) if host.name in off else []
            on += [host] if host.name not in off else []
        nonce = secrets.token_hex(8)
        answers, silent = await self._everywhere([host.name for host in on], records.HEAL, nonce)
        for name, ran in answers.items():
            done += records.healed(name, ran.out, nonce)
        return done, silent

    async def _everywhere(
        self, names: Sequence[str], text: str, nonce: str
    ) -> tuple[dict[str, Ran], list[OakError]]:
        """A script of `records` on hosts, and the faults of those that did not answer it whole."""
        if not names:
            return {}, []
        silent: list[OakError] = []
        script = f"{records.BEGIN}{text}"
        answers = await self._hosts.run(names, script, arguments=(nonce,))
        closed = [name for name, ran in answers.items() if records.is_closed(ran.out, nonce)]
        if closed:
            answers |= await self._hosts.run(
                closed, script, sudo=True, arguments=(nonce, means.OURS)
            )
        for name, ran in answers.items():
            if not records.is_whole(ran.out, nonce):
                silent.append(ran.fault or OakError(f"{name}: its answer is cut off"))
        return answers, silent


def _told(answer: Means | OakError) -> Means:
    if isinstance(answer, OakError):
        raise answer
    return answer


def _here() -> Here:
    try:
        boot = BOOT.read_text().strip()
    except OSError:  # not Linux: then no host runs by our kernel
        boot = "-"
    return Here(boot, _disk_mb(paths.private_directory(paths.state_directory())))


def _disk_mb(folder: Path) -> float:
    import os

    found = os.statvfs(folder)
    return found.f_frsize * found.f_blocks / 2**20


def _scripts(fault: Fault, aim: Aim, found: dict[str, Means]) -> dict[str, str]:
    """Host → what is run there."""
    scripts = {}
    for host, other in ((aim.host, aim.other), (aim.other, aim.host)):
        if host is None:
            continue
        place = other.name if other is not None else aim.instance
        key = faults.key(fault, place)
        its = found[host.name]
        others = (*found[other.name].addresses, *_literal(other)) if other is not None else ()
        deed = deeds.deed(fault, key, its, instance=aim.instance, others=others)
        if fault.for_s and fault.kind is not Kind.POWER_CUT:
            scripts[host.name] = envelope.lasting(
                deed,
                prefix=its.prefix,
                key=key,
                token=secrets.token_hex(8),
                record=records.record(fault),
                seconds=fault.for_s,
                timer=its.timer,
            )
        else:
            scripts[host.name] = envelope.once(deed)
    return scripts


def _ends(fault: Fault, aim: Aim, found: dict[str, Means]) -> dict[str, str]:
    """Host → what ends it there."""
    pairs = ((aim.host, aim.other), (aim.other, aim.host))
    return {
        host.name: envelope.end(
            found[host.name].prefix, faults.key(fault, other.name if other else aim.instance)
        )
        for host, other in pairs
        if host is not None
    }


def _literal(host: HostView) -> tuple[str, ...]:
    """The address that we reach it by, where that is one and not a name."""
    from ipaddress import ip_address

    try:
        found = ip_address(host.address)
    except ValueError:
        return ()
    return () if found.is_loopback else (str(found),)


def _happened(ran: Ran, offset: float | None) -> float:
    """When it took effect, by our clock; 0 where the host does not say."""
    for line in ran.out:
        mark, _, at = line.partition(" ")
        if mark == envelope.DONE:
            try:
                return float(at.removesuffix(".%N").removesuffix(".N")) - (offset or 0.0)
            except ValueError:
                return 0.0
    return 0.0
