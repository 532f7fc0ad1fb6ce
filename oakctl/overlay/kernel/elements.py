"""What is in the maps and sets of the rule set, and the difference between two such states. Pure.

The rules never change (`ruleset`); everything that does is an element. Belongs here: keys and
values as nft reads them. Does not belong here: which targets a service has (`planning`), nor how
they share an address (`places`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oakctl.overlay.kernel.places import PLACES, Places

TABLE = "oakctl"
# The place travels in the packet's mark for the length of one rule. "oak\0" and up is a range that
# nobody else marks packets with, so that no `ip rule` of the host takes them elsewhere.
FIRST_MARK = 0x6F616B00
_MARKS = tuple(f"{FIRST_MARK + slot:#x}" for slot in range(PLACES))

_PLACE = re.compile(r" \. (0x[0-9a-f]{8}) : ([0-9.]+)")
_SECTION = re.compile(r"\n\t(?:map|set) (\w+) \{(.*?)\n\t\}", re.DOTALL)
_LISTED = re.compile(r"elements = \{(.*?)\}", re.DOTALL)

Content = Mapping[str, str]  # of one map, or of a set with empty values


@dataclass(frozen=True)
class Elements:
    """All that the rule set of one node goes by."""

    slots: Content = field(default_factory=dict)  # service address . mark → instance
    one: Content = field(default_factory=dict)  # service address with one instance → instance
    sticky: Content = field(default_factory=dict)  # service addresses that choose by the client
    hold: Content = field(default_factory=dict)  # service addresses that wait for an instance
    refused: Content = field(default_factory=dict)  # those that have none, and wait for none
    hairpin: Content = field(default_factory=dict)  # local instance . itself
    sources: Content = field(default_factory=dict)  # interface of an instance . its address
    silent: Content = field(default_factory=dict)  # local instances in which nothing runs
    ports: Content = field(default_factory=dict)  # protocol . port of the node → instance . port

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(content) for _, content in _contents(self))


def leading(address: str, places: Places, *, by_client: bool = False) -> Elements:
    """What leads from a service address to the instances that have its places."""
    if len(set(places)) == 1:
        return Elements(one={address: places[0]})
    keys = (f"{address} . {mark}" for mark in _MARKS)
    sticky = {address: ""} if by_client and places else {}
    return Elements(slots=dict(zip(keys, places)), sticky=sticky)  # noqa: B905 (or none at all)


def asking(address: str) -> str:
    """A command for nft that prints a service address's places; it fails where there are none."""
    return f"get element ip {TABLE} slots {{ {', '.join(f'{address} . {m}' for m in _MARKS)} }}\n"


def places_in(printed: str) -> Places:
    """The places that nft has printed; none where it is not all of them."""
    found = dict(_PLACE.findall(printed))
    return tuple(found[mark] for mark in _MARKS) if found.keys() == set(_MARKS) else ()


def is_in(printed: str, wanted: Elements) -> bool:
    """Whether a table that nft has printed has just these elements."""
    listed = {name: frozenset(_listed(body)) for name, body in _SECTION.findall(printed)}
    return all(
        listed.get(name, frozenset()) == {_element(key, value) for key, value in content.items()}
        for name, content in _contents(wanted)
    )


def _listed(body: str) -> Iterable[str]:
    found = _LISTED.search(body)
    return (" ".join(each.split()) for each in found[1].split(",")) if found else ()


def together(parts: Iterable[Elements]) -> Elements:
    """All of them as one."""
    found: dict[str, dict[str, str]] = {name: {} for name in vars(Elements())}
    for part in parts:
        for name, content in _contents(part):
            found[name].update(content)
    return Elements(**found)


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
