"""Letting the overlay's packets pass through rules that drop what they do not know. Pure.

An accept in our own table is no more than that: Docker's chain FORWARD, whose policy is to drop,
has its own say. What lets ours pass is two rules there: in DOCKER-USER, which Docker leaves to
others, or at the top of FORWARD itself. Does not belong here: running the commands (`driver`).
"""

from __future__ import annotations

from collections.abc import Iterable

OURS = "oak+"  # interfaces, as iptables writes a prefix
_MARK = ("-m", "comment", "--comment", "oakctl")


def missing(listed: str) -> list[tuple[str, ...]]:
    """Commands that let us pass, given what `iptables -S` lists; none where nothing drops."""
    lines = listed.splitlines()
    chain = _chain(lines)
    if not chain:
        return []
    return [
        ("iptables", "-w", "-I", *rule)
        for rule in _rules(chain)
        if not any(_is(line, rule) for line in lines)
    ]


def present(listed: str) -> list[tuple[str, ...]]:
    """Commands that take away what `missing` has put there."""
    lines = listed.splitlines()
    return [
        ("iptables", "-w", "-D", *rule)
        for chain in ("DOCKER-USER", "FORWARD")
        for rule in _rules(chain)
        for line in lines
        if _is(line, rule)
    ]


def _chain(lines: Iterable[str]) -> str:
    if "-N DOCKER-USER" in lines:
        return "DOCKER-USER"
    return "FORWARD" if "-P FORWARD DROP" in lines else ""


def _rules(chain: str) -> list[tuple[str, ...]]:
    return [(chain, side, OURS, *_MARK, "-j", "ACCEPT") for side in ("-i", "-o")]


def _is(line: str, rule: tuple[str, ...]) -> bool:
    return line.replace('"', "").split() == ["-A", *rule]
