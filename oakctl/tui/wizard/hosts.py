"""Hosts as typed or pasted, one a line, and those that ssh_config names.

Belongs here: from lines to hosts, with the fault of each line. Does not belong here: asking them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oakctl.errors import OakError
from oakctl.model import destinations
from oakctl.model.views import HostView
from oakctl.orchestration.root import names

FORM = "[NAME=]USER@ADDRESS[:PORT]"


@dataclass(frozen=True)
class Typed:
    """What the lines say."""

    hosts: tuple[HostView, ...] = ()
    faults: tuple[str, ...] = ()


def read(text: str, known: Iterable[HostView] = ()) -> Typed:
    """The hosts of `text`; of a `known` one its name alone will do.

    `#` begins a remark. A host without a name is called after its address.
    """
    by_name = {host.name: host for host in known}
    hosts: dict[str, HostView] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        given = line.partition("#")[0].strip()
        if not given:
            continue
        try:
            host = by_name.get(given) or _host(given)
        except (OakError, ValueError) as error:
            faults.append(f"line {number}: {getattr(error, 'message', error)}")
            continue
        if host.name in hosts:
            faults.append(f"line {number}: there is another host {host.name}")
        hosts.setdefault(host.name, host)
    return Typed(tuple(hosts.values()), tuple(faults))


def _host(given: str) -> HostView:
    name, equals, where = given.rpartition("=")
    user, address, port = destinations.read(where.strip(), unsaid=0)
    return HostView(
        names.check(name.strip(), "host") if equals else name_of(address), address, port, user
    )


def name_of(address: str) -> str:
    """A name for an address: "pi-1" of "pi-1.local", "host-192-168-1-20" of "192.168.1.20"."""
    parts = address.split(".")
    if all(part.isdigit() for part in parts) or ":" in address:
        return re.sub(r"[^a-z0-9]+", "-", f"host-{address}".lower()).strip("-")[:30]
    return re.sub(r"[^a-z0-9]+", "-", parts[0].lower()).strip("-")[:30] or "host"


def lines(hosts: Sequence[HostView]) -> str:
    """The text for hosts that the root knows: their names alone."""
    return "".join(f"{host.name}\n" for host in hosts)


def of_ssh_config(text: str) -> tuple[str, ...]:
    """The lines for the aliases of an ssh_config: those without a pattern."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        keyword, _, rest = line.strip().replace("=", " ").partition(" ")
        if keyword.lower() != "host":
            continue
        for alias in rest.split("#")[0].split():
            if re.fullmatch(r"[\w.][\w.-]*", alias):
                found[f"{name_of(alias)}={alias}"] = None
    return tuple(found)
