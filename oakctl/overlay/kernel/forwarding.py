"""Letting the overlay's packets pass through rules that drop what they do not know. Pure.

An accept in our own table is no more than that: Docker's chain FORWARD, whose policy is to drop,
has its own say, and so has ufw's INPUT. What lets ours pass are rules there: in DOCKER-USER, which
Docker leaves to others, or at the top of the chain itself. firewalld has a table of its own, and is
told. Does not belong here: running the commands (`passage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oakctl.model.overlay import TUNNEL_PORT

OURS = "oak+"  # interfaces, as iptables and firewalld write a prefix
DOCKER = "DOCKER-USER"
_MARK = ("-m", "comment", "--comment", "oakctl")
_FIREWALLD = ("firewall-cmd", "--quiet")


def missing(listed: str, port: int = TUNNEL_PORT) -> list[tuple[str, ...]]:
    """Commands that let us pass, given what `iptables -S` lists; none where nothing drops."""
    lines = listed.splitlines()
    rules = [*_forward(lines), *_input(lines, port)]
    return [
        ("iptables", "-w", "-I", *rule)
        for rule in rules
        if not any(_is(line, rule) for line in lines)
    ]


def present(listed: str) -> list[tuple[str, ...]]:
    """Commands that take away what `missing` has put there, for whatever port."""
    lines = (line.replace('"', "").split() for line in listed.splitlines())
    end = [*_MARK, "-j", "ACCEPT"]
    return [
        ("iptables", "-w", "-D", *words[1:])
        for words in lines
        if words[:1] == ["-A"] and words[1] in (DOCKER, "FORWARD", "INPUT") and words[-6:] == end
    ]


def has_docker(listed: str) -> bool:
    """Whether Docker is at work there, which needs packets to be forwarded."""
    return f"-N {DOCKER}" in listed.splitlines()


def firewalld(listed: str, port: int) -> list[tuple[str, ...]]:
    """Commands that have firewalld let us pass, given its own table as nft lists it.

    They hold until it is loaded anew; what it loads at its start is not touched.
    """
    if not listed.strip():
        return []  # it is not at work
    found: list[tuple[str, ...]] = []
    if f'"{OURS.replace("+", "*")}"' not in listed:
        found.append((*_FIREWALLD, "--zone=trusted", f"--add-interface={OURS}"))
    if f"udp dport {port} " not in listed:
        found.append((*_FIREWALLD, f"--add-port={port}/udp"))
    return found


def undone(commands: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """The opposite of each of firewalld's commands."""
    return [tuple(word.replace("--add-", "--remove-") for word in each) for each in commands]


def _forward(lines: Sequence[str]) -> list[tuple[str, ...]]:
    chain = DOCKER if f"-N {DOCKER}" in lines else "FORWARD"
    if chain == "FORWARD" and not _drops(lines, chain):
        return []
    return [(chain, side, OURS, *_MARK, "-j", "ACCEPT") for side in ("-i", "-o")]


def _input(lines: Sequence[str], port: int) -> list[tuple[str, ...]]:
    """What begins a tunnel to here, and the echoes by which nodes find each other alive."""
    if not _drops(lines, "INPUT"):
        return []
    tunnel = ("-p", "udp", "-m", "udp", "--dport", str(port))
    return [
        ("INPUT", *what, *_MARK, "-j", "ACCEPT") for what in (tunnel, ("-i", OURS, "-p", "icmp"))
    ]


def _drops(lines: Iterable[str], chain: str) -> bool:
    """By its policy, or by a last rule for all that is left."""
    ends = (f"-P {chain} DROP", f"-A {chain} -j DROP", f"-A {chain} -j REJECT")
    return any(line.startswith(ends) for line in lines)


def _is(line: str, rule: tuple[str, ...]) -> bool:
    return line.replace('"', "").split() == ["-A", *rule]
