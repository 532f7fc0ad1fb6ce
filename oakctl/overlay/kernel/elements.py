"""What is in the maps and sets of the rule set, and the difference between two such states. Pure.

The rules never change (`ruleset`); everything that does is an element. Belongs here: keys and
values as nft reads them. Does not belong here: which targets a service has (`planning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

TABLE = "oakctl"
# Places of one service address: the least common multiple of 1 to 6, so that up to six instances
# get exactly the same share, and more of them the same within one place.
SLOTS = 60
# The place travels in the packet's mark for the length of one rule. "oak\0" and up is a range that
# nobody else marks packets with, so that no `ip rule` of the host takes them elsewhere.
FIRST_MARK = 0x6F616B00

Content = Mapping[str, str]  # of one map, or of a set with empty values


@dataclass(frozen=True)
class Elements:
    """All that the rule set of one node goes by."""

    slots: Content = field(default_factory=dict)  # service address . mark → instance
    one: Content = field(default_factory=dict)  # service address with one instance → instance
    hold: Content = field(default_factory=dict)  # service addresses that wait for an instance
    hairpin: Content = field(default_factory=dict)  # local instance . itself
    sources: Content = field(default_factory=dict)  # interface of an instance . its address
    ports: Content = field(default_factory=dict)  # protocol . port of the node → instance . port

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(content) for _, content in _contents(self))


@lru_cache(1 << 14)
def service(address: str, targets: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """The elements of `slots` and of `one` that lead from `address` to `targets`, evenly.

    The same on every node: it depends on the set of targets, not on their order. It is kept, since
    most services are as they were: what is returned must not be changed.
    """
    if len(targets) == 1:
        return {}, {address: targets[0]}
    in_order = sorted(targets)
    slots = {
        f"{address} . {FIRST_MARK + slot:#x}": in_order[slot % len(in_order)]
        for slot in range(SLOTS)
        if in_order
    }
    return slots, {}


def difference(old: Elements, new: Elements) -> str:
    """Commands for nft that make `new` of `old`; empty where they are the same.

    They are for one transaction: what is deleted and added in it is never seen missing.
    """
    deleted, added = [], []
    wanted = dict(_contents(new))
    for name, before in _contents(old):
        after = wanted[name]
        gone = [key for key, value in before.items() if after.get(key) != value]
        come = [_element(key, value) for key, value in after.items() if before.get(key) != value]
        if gone:
            deleted.append(f"delete element ip {TABLE} {name} {{ {', '.join(gone)} }}\n")
        if come:
            added.append(f"add element ip {TABLE} {name} {{ {', '.join(come)} }}\n")
    return "".join(deleted + added)


def _element(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key


def _contents(elements: Elements) -> Iterable[tuple[str, Content]]:
    return vars(elements).items()
