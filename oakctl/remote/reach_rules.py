"""What tries of hosts to reach a bus's address mean, and what to type. Pure.

Belongs here: reading the tries, and a finding for each host that did not get through. Does not
belong here: trying (`reachability`), what shows on one host alone (`preflight`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from oakctl.model.config import endpoint
from oakctl.model.views import HostFinding
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import BLOCK, NOTE
from oakctl.remote.network_rules import OPENINGS

TOPIC = "reach"


@dataclass(frozen=True)
class Attempt:
    """One try of a host to connect. `said` is what came back, `fault` why nothing did."""

    address: str
    port: int
    said: str = ""
    fault: str = ""  # as the host's own tool has it: "Connection refused"; empty: it connected


@dataclass(frozen=True)
class Aim:
    """What hosts shall reach: the bus of `host` at `address` and `port`.

    `proof` is what only the right machine says there; empty when nothing could listen, and then
    `untested` says why. `facts` of that machine are for the remedies, where they are known.
    """

    host: str
    address: str
    port: int
    ssh_port: int
    proof: str = ""
    untested: str = ""
    facts: HostFacts | None = None

    @property
    def where(self) -> str:
        """Address and port, for messages."""
        return endpoint(self.address, self.port)


def attempts(lines: Iterable[str], mark: str) -> tuple[Attempt, ...]:
    """The tries in a host's answer: "MARK TAB address TAB port TAB word TAB text"."""
    found = []
    for line in lines:
        parts = line.rstrip("\r\n").split("\t", 4)
        if len(parts) != 5 or parts[0] != mark or not parts[2].isdecimal():
            continue
        text = parts[4].strip()
        if parts[3] == "said":
            found.append(Attempt(parts[1], int(parts[2]), said=text))
        else:
            found.append(Attempt(parts[1], int(parts[2]), fault=text or "no answer"))
    return tuple(found)


def judge(aim: Aim, tries: Mapping[str, Sequence[Attempt] | str]) -> list[HostFinding]:
    """A finding for each host that does not reach `aim`, or of which that is not known.

    `tries` has the attempts of each host, or in words why it could not try.
    """
    found = []
    for host, tried in tries.items():
        if isinstance(tried, str):
            found.append(_unknown(aim, host, tried))
        elif (one := _finding(aim, host, tried)) is not None:
            found.append(one)
    return found


def _unknown(aim: Aim, host: str, why: str) -> HostFinding:
    return HostFinding(
        host,
        NOTE,
        TOPIC,
        f"whether it reaches {aim.host} at {aim.where} could not be tested: {why}",
        f"try it: oakctl host run {host} -- nc -vz {aim.address} {aim.port}",
    )


def _finding(aim: Aim, host: str, tried: Sequence[Attempt]) -> HostFinding | None:
    bus = _of(tried, aim.address, aim.port)
    if not aim.proof:
        return _without_listener(aim, host, tried)
    if bus is None:
        return _unknown(aim, host, "it said nothing about it")
    if aim.proof in bus.said:
        return None
    if not bus.fault:
        return HostFinding(
            host,
            BLOCK,
            TOPIC,
            f"at {aim.where} it reaches another machine than {aim.host}"
            if bus.said
            else f"at {aim.where} something takes its connection that is not {aim.host}",
            _other_address(aim, tried) or _name_it_anew(aim),
        )
    reason, remedy = _reason(aim, bus, tried)
    return HostFinding(host, BLOCK, TOPIC, f"it does not reach {aim.host} {reason}", remedy)


def _without_listener(aim: Aim, host: str, tried: Sequence[Attempt]) -> HostFinding:
    ssh = _of(tried, aim.address, aim.ssh_port)
    why = aim.untested
    if ssh is not None and ssh.said.startswith("SSH-"):
        why += f" (an SSH server answers it at {aim.address})"
    elif ssh is not None and ssh.fault:
        why += f" (nor does it reach port {aim.ssh_port} of {aim.address}: {ssh.fault})"
    return _unknown(aim, host, why)


def _reason(aim: Aim, bus: Attempt, tried: Sequence[Attempt]) -> tuple[str, str]:
    """Why not, as the rest of a sentence, and what to type."""
    fault = bus.fault.lower()
    other = _other_address(aim, tried)
    if _is_loopback(aim.address):
        return (
            f"at {aim.where}: that address is each machine's own",
            other or _name_it_anew(aim),
        )
    if any(word in fault for word in ("not known", "resol", "no address", "lookup")):
        return f"at {aim.where}: the name is not known there ({bus.fault})", _name_it_anew(aim)
    if _behind_nat(aim) and not other:
        assert aim.facts is not None
        own = aim.facts.reached_address
        return (
            f"at {aim.where} ({bus.fault}): {aim.host} has the address {own} itself, behind NAT",
            f"on its router, forward TCP port {aim.port} to {own}, or name it by an address that "
            f"both have a way to",
        )
    ssh = _of(tried, aim.address, aim.ssh_port)
    if "refused" in fault or (ssh is not None and ssh.said.startswith("SSH-")):
        return (
            f"at {aim.where} ({bus.fault}), although "
            + ("the machine answers" if "refused" in fault else "SSH answers there")
            + f": a firewall before {aim.host} does not let port {aim.port} through",
            _open_firewall(aim),
        )
    return (
        f"at {aim.where} ({bus.fault}): there is no way to that address from there",
        other or f"{_name_it_anew(aim)}; or join the networks (VPN)",
    )


def _of(tried: Sequence[Attempt], address: str, port: int) -> Attempt | None:
    return next((each for each in tried if (each.address, each.port) == (address, port)), None)


def _other_address(aim: Aim, tried: Sequence[Attempt]) -> str:
    """The way out when the machine was reached at another of its addresses; empty: it was not."""
    for each in tried:
        if aim.proof and aim.proof in each.said and each.address != aim.address:
            return (
                f"it does reach {aim.host} at {each.address}: "
                f"oakctl host add {aim.host} USER@{each.address}"
            )
    return ""


def _name_it_anew(aim: Aim) -> str:
    return (
        f"name {aim.host} by an address that all its workers reach: "
        f"oakctl host add {aim.host} USER@ADDRESS"
    )


def _open_firewall(aim: Aim) -> str:
    walls = aim.facts.network.firewalls if aim.facts is not None else ()
    known = [OPENINGS[wall] for wall in walls if wall in OPENINGS]
    if known:
        return f"on {aim.host}: {known[0]}"
    return (
        f"let TCP port {aim.port} through to {aim.host}: in its own rules (sudo nft list ruleset) "
        "or in those of its provider"
    )


def _behind_nat(aim: Aim) -> bool:
    """Whether the machine does not itself have the address by which it is named."""
    own = aim.facts.reached_address if aim.facts is not None else ""
    try:
        return bool(own) and ipaddress.ip_address(own) != ipaddress.ip_address(aim.address)
    except ValueError:  # a name
        return False


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")
