"""The relay's decisions: what its file says, what changed, whose turn it is. Pure.

Imports little: the relay runs on every worker and should weigh little (dataclasses alone are
a megabyte). Does not belong here: sockets (`tcp`, `udp`).
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

CLOSEST = "closest"
POLICIES = ("rr", CLOSEST)
PROTOCOLS = ("tcp", "udp")

Endpoint = tuple[str, int]


class Malformed(ValueError):
    """The file is not a relay's table; the text says where."""


class Key(NamedTuple):
    """What a listener is known by."""

    address: str
    port: int
    protocol: str


class Target(NamedTuple):
    """One instance: where it listens and whether new flows may go there."""

    instance: str
    endpoint: Endpoint
    takes_new: bool = True
    weight: int = 1  # share of new flows; 0: only where nobody else takes one


class Listener(NamedTuple):
    """An address of a service on this host, and where it leads."""

    service: str
    key: Key
    policy: str
    targets: tuple[Target, ...] = ()
    by_client: bool = False  # one client's flows go to one instance

    @property
    def open(self) -> bool:
        """Whether a new flow has somewhere to go."""
        return any(target.takes_new for target in self.targets)

    def has(self, endpoint: Endpoint) -> bool:
        """Whether a flow to `endpoint` may go on."""
        return any(target.endpoint == endpoint for target in self.targets)

    def moves(self, endpoint: Endpoint) -> bool:
        """Whether datagrams that went to `endpoint` shall go elsewhere from now on.

        A datagram flow is nobody's connection: it leaves a target that takes no new flows for
        one that does, and with `closest` it follows the nearest.
        """
        first = next((t.endpoint for t in self.targets if t.takes_new), None)
        if first is None:
            return not self.has(endpoint)
        if self.policy == CLOSEST:
            return endpoint != first
        return not any(t.takes_new and t.endpoint == endpoint for t in self.targets)


class Turns:
    """Strict turns over the targets that take new flows: who has had least for its weight is next.

    A target that comes is next once, one that goes leaves no gap; with n targets of one weight,
    any n flows in a row go to n different ones.
    """

    def __init__(self) -> None:
        self._had: dict[Endpoint, float] = {}  # flows, each counted by 1 / weight
        self._pace = 0.0  # what the last one that was chosen had had

    def next(
        self, listener: Listener, tried: Container[Endpoint] = (), client: str = ""
    ) -> Endpoint | None:
        """Where the next flow goes, leaving out `tried`; None when there is nowhere.

        `client` is where it comes from, for listeners that go by that.
        """
        able = {t.endpoint: t.weight for t in listener.targets if t.takes_new}
        able = {endpoint: weight for endpoint, weight in able.items() if endpoint not in tried}
        if not able:
            return None
        if listener.policy == CLOSEST:
            return next(iter(able))
        if any(able.values()):
            able = {endpoint: weight for endpoint, weight in able.items() if weight > 0}
        if listener.by_client:
            return max(able, key=lambda endpoint: _score(client, endpoint, able[endpoint]))
        chosen = min(able, key=lambda endpoint: self._had.get(endpoint, -1.0))
        # Who was not there for a while has no claim to what others had meanwhile.
        self._pace = max(self._pace, self._had.get(chosen, 0.0))
        self._had[chosen] = self._pace + 1 / max(1, able[chosen])
        return chosen

    def forget(self, listener: Listener) -> None:
        """Drop what is known of targets that `listener` no longer has."""
        self._had = {e: n for e, n in self._had.items() if listener.has(e)}


def _score(client: str, endpoint: Endpoint, weight: int) -> float:
    """The highest has the client: when one leaves, only its own clients go elsewhere."""
    mixed = zlib.crc32(f"{client} {endpoint[0]} {endpoint[1]}".encode()) * 0x9E3779B97F4A7C15
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & 0xFFFFFFFFFFFFFFFF
    return max(1, weight) / -math.log(((mixed >> 12) + 0.5) / 2**52)


class Difference(NamedTuple):
    """What has to be done to get from one table to another."""

    closed: tuple[Key, ...]
    opened: tuple[Listener, ...]
    changed: tuple[Listener, ...]


def difference(old: Mapping[Key, Listener], new: Iterable[Listener]) -> Difference:
    """Listeners to close, to open, and those whose targets or policy are others."""
    wanted = {listener.key: listener for listener in new}
    return Difference(
        closed=tuple(key for key in old if key not in wanted),
        opened=tuple(found for key, found in wanted.items() if key not in old),
        changed=tuple(found for key, found in wanted.items() if key in old and old[key] != found),
    )


def parse(text: str, number: int) -> tuple[Listener, ...]:
    """The listeners that the file asks for; raises Malformed.

    A file made for another host is refused: its addresses are that host's.
    """
    try:
        data = json.loads(text)
        if data["number"] != number:
            raise Malformed(f"the table is for loopback number {data['number']}, not {number}")
        listeners = tuple(_listener(item) for item in data["listeners"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"not a relay's table: {type(error).__name__}: {error}") from error
    if len({listener.key for listener in listeners}) < len(listeners):
        raise Malformed("the table has two listeners with one address, port and protocol")
    return listeners


def _listener(item: dict[str, Any]) -> Listener:
    protocol, policy = str(item["protocol"]), str(item["policy"])
    if protocol not in PROTOCOLS or policy not in POLICIES:
        raise Malformed(f"{item['service']}: {protocol}/{policy} is not known")
    return Listener(
        service=str(item["service"]),
        key=Key(*_endpoint(item), protocol),
        policy=policy,
        targets=tuple(
            Target(
                str(t["instance"]),
                _endpoint(t),
                bool(t["takes_new"]),
                max(0, int(t.get("weight", 1))),
            )
            for t in item["targets"]
        ),
        by_client=bool(item.get("by_client", False)),
    )


def _endpoint(item: dict[str, Any]) -> Endpoint:
    """Address and port; a name instead of an address would be looked up, and is refused."""
    address, port = str(item["address"]), int(item["port"])
    octets = address.split(".")
    if len(octets) != 4 or not all(o.isdecimal() and int(o) <= 255 for o in octets):
        raise Malformed(f"{address!r} is not an IPv4 address")
    if not 0 < port < 65536:
        raise Malformed(f"{port} is not a port")
    return address, port
