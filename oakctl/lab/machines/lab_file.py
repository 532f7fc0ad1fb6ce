"""`lab.yaml`: which hosts there are, what they run, and behind which router they sit. Pure.

Belongs here: the shape and its checks. Does not belong here: addresses (`topology`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import yaml

from oakctl.errors import UsageError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
MOST_HOSTS = 100
MOST_SITES = 14  # one /24 each, of the lab's /20


class Suite(str, Enum):
    """The Debian releases that a host may be."""

    TRIXIE = "trixie"
    BOOKWORM = "bookworm"
    BULLSEYE = "bullseye"


class Arch(str, Enum):
    """What a host's programs are for: this machine, or another one, which is emulated."""

    NATIVE = "native"
    ARM64 = "arm64"


class Sudo(str, Enum):
    """Whether the hosts' user is asked for a password by sudo."""

    NOPASSWD = "nopasswd"
    PASSWORD = "password"  # noqa: S105 - a word of lab.yaml


class Nat(str, Enum):
    """How a site's router translates addresses; `none`: it only routes."""

    NONE = "none"
    FULL_CONE = "full-cone"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"


class Udp(str, Enum):
    """What a site's firewall does with UDP."""

    ACCEPT = "accept"
    DROP = "drop"


@dataclass(frozen=True)
class Site:
    """A local network behind a router of its own."""

    name: str
    nat: Nat = Nat.PORT_RESTRICTED
    udp: Udp = Udp.ACCEPT


@dataclass(frozen=True)
class MachineHost:
    """One host. An empty `site` puts it on the public segment, with a public address."""

    name: str
    suite: Suite = Suite.TRIXIE
    sudo: Sudo = Sudo.NOPASSWD
    docker: bool = False
    site: str = ""
    arch: Arch = Arch.NATIVE


@dataclass(frozen=True)
class LabPlan:
    """What a lab shall be. `mirror`: the Debian archive; empty: the one this machine uses."""

    hosts: tuple[MachineHost, ...]
    sites: tuple[Site, ...] = ()
    mirror: str = ""


DEFAULT = LabPlan(
    hosts=(
        MachineHost("m1"),
        MachineHost("m2", sudo=Sudo.PASSWORD),
        MachineHost("m3", site="home"),
    ),
    sites=(Site("home"),),
)


def equal_hosts(lab: str, count: int) -> LabPlan:
    """`count` equal hosts on the public segment; raises UsageError when that is no lab."""
    return checked(LabPlan(tuple(MachineHost(f"{lab}-{i + 1}") for i in range(count))))


def parse(text: str) -> LabPlan:
    """The plan that `lab.yaml` asks for; raises UsageError with every fault found."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"lab.yaml is not YAML: {error}", hint=_EXAMPLE) from error
    if not isinstance(data, Mapping):
        raise UsageError("lab.yaml is no mapping", hint=_EXAMPLE)
    faults = _unknown("", data, {"hosts", "sites", "mirror"})
    hosts = [_host(i, each, faults) for i, each in enumerate(_list(data, "hosts", faults))]
    sites = [_site(i, each, faults) for i, each in enumerate(_list(data, "sites", faults))]
    mirror = data.get("mirror", "")
    if not isinstance(mirror, str):
        faults.append(f"mirror: {mirror!r} is no text")
    if faults:
        raise UsageError("lab.yaml has faults", details=tuple(faults), hint=_EXAMPLE)
    return checked(LabPlan(tuple(hosts), tuple(sites), mirror))


def checked(plan: LabPlan) -> LabPlan:
    """`plan` itself; raises UsageError with every rule that it breaks."""
    faults = []
    if not 1 <= len(plan.hosts) <= MOST_HOSTS:
        faults.append(f"hosts: {len(plan.hosts)} is not 1 to {MOST_HOSTS}")
    if len(plan.sites) > MOST_SITES:
        faults.append(f"sites: {len(plan.sites)} is more than {MOST_SITES}")
    for what, names in (
        ("hosts", [host.name for host in plan.hosts]),
        ("sites", [site.name for site in plan.sites]),
    ):
        faults += [f"{what}: {name!r} is no name" for name in names if not NAME.fullmatch(name)]
        faults += [
            f"{what}: {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1
        ]
    known = {site.name for site in plan.sites}
    for host in plan.hosts:
        if host.site and host.site not in known:
            faults.append(f"hosts: {host.name}: there is no site {host.site!r}")
    if faults:
        raise UsageError("this is no lab", details=tuple(faults), hint=_EXAMPLE)
    return plan


_EXAMPLE = (
    "hosts: [{name: m1, suite: trixie, sudo: nopasswd, docker: false, site: home, arch: arm64}] "
    "and sites: [{name: home, nat: full-cone | port-restricted | symmetric | none, udp: drop}]"
)


def _host(index: int, data: Any, faults: list[str]) -> MachineHost:
    values = _values(f"hosts[{index}]", data, MachineHost, faults)
    return MachineHost(**values)


def _site(index: int, data: Any, faults: list[str]) -> Site:
    values = _values(f"sites[{index}]", data, Site, faults)
    return Site(**values)


_TYPES: dict[str, type[Enum]] = {
    "suite": Suite,
    "sudo": Sudo,
    "nat": Nat,
    "udp": Udp,
    "arch": Arch,
}


def _values(path: str, data: Any, kind: type[Any], faults: list[str]) -> dict[str, Any]:
    """The fields of `kind` in `data`; what is wrong is told in `faults` and left out."""
    values: dict[str, Any] = {"name": f"{path}-nameless"}
    if not isinstance(data, Mapping):
        faults.append(f"{path}: {data!r} is no mapping")
        return values
    faults += _unknown(path, data, {field.name for field in dataclasses.fields(kind)})
    if "name" not in data:
        faults.append(f"{path}: a name is missing")
    for field in dataclasses.fields(kind):
        if field.name in data:
            value = _value(f"{path}.{field.name}", field.name, data[field.name], faults)
            if value is not None:
                values[field.name] = value
    return values


def _value(path: str, name: str, value: Any, faults: list[str]) -> Any:
    if name in _TYPES:
        words = [each.value for each in _TYPES[name]]
        if value in words:
            return _TYPES[name](value)
        faults.append(f"{path}: {value!r} is not one of {', '.join(words)}")
        return None
    wanted = bool if name == "docker" else str
    if isinstance(value, wanted):
        return value
    faults.append(f"{path}: {value!r} is no {'text' if wanted is str else 'true or false'}")
    return None


def _list(data: Mapping[Any, Any], name: str, faults: list[str]) -> list[Any]:
    value = data.get(name, [])
    if isinstance(value, list):
        return value
    faults.append(f"{name}: {value!r} is no list")
    return []


def _unknown(path: str, data: Mapping[Any, Any], known: set[str]) -> list[str]:
    prefix = f"{path}." if path else ""
    return [f"{prefix}{key}: no such field" for key in data if key not in known]
