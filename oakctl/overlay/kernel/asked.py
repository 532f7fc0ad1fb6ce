"""The service addresses that packets were for and no table is known of: the rule set notes them.

It is looked at again and again rather than told: nothing is lost when nobody looks for a while.
Belongs here: reading that set of the kernel. Does not belong here: the rules (`ruleset`), whom to
ask (the agent).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from oakctl.overlay.kernel import attributes, netlink
from oakctl.overlay.kernel.elements import TABLE

ASKED = "asked"
_Where = tuple[int, int]
_GET = 10 << 8 | 13  # NFT_MSG_GETSETELEM of the subsystem nftables
# enum nft_set_elem_list_attributes, nft_list_attributes, nft_set_elem_attributes,
# nft_data_attributes of linux/netfilter/nf_tables.h
_TABLE, _SET, _ELEMENTS, _ELEMENT, _KEY, _VALUE = 1, 2, 3, 1, 1, 1


def addresses() -> frozenset[str]:
    """Those that are asked for now; none where there is no table of ours. Raises OSError."""
    where = attributes.one(_TABLE, TABLE.encode() + b"\0")
    where += attributes.one(_SET, ASKED.encode() + b"\0")
    found: set[str] = set()
    with netlink.opened() as kernel, contextlib.suppress(FileNotFoundError):
        for message in netlink.dump(kernel, _GET, where):
            with contextlib.suppress(ValueError):
                found.update(parse(message))
    return frozenset(found)


def parse(message: bytes) -> Iterator[str]:
    """The addresses in one message of the list, header included; raises ValueError."""
    for kind, listed in attributes.within(message, attributes.BODY, len(message)):
        if kind != _ELEMENTS:
            continue
        for _, element in _of(message, listed, _ELEMENT):
            for _, key in _of(message, element, _KEY):
                for _, value in _of(message, key, _VALUE):
                    yield str(IPv4Address(message[slice(*value)]))


def answered(these: Iterable[str]) -> str:
    """A command for nft: these wait no longer, whether or not they still do."""
    listed = ", ".join(str(IPv4Address(each)) for each in sorted(these))
    what = f"element ip {TABLE} {ASKED} {{ {listed} }}\n"
    return f"add {what}delete {what}" if listed else ""


def _of(
    message: bytes, within: tuple[int, int], kind: int
) -> Iterator[tuple[int, tuple[int, int]]]:
    return (found for found in attributes.within(message, *within) if found[0] == kind)
