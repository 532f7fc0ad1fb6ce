"""What a node's complaint means for whoever reads it, and what to do. Pure.

Belongs here: a line for each kind of fault that nodes name in words. Does not belong here: faults
that only the whole fleet shows (`overlay_status`).
"""

from __future__ import annotations

from collections.abc import Iterable

from oakctl.model.overlay_views import Trouble
from oakctl.overlay import host as no_overlay

FAULT, NOTE = "fault", "note"

# What is in the words → how bad it is, and what to do: {node} and {host} are filled in.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        "loaded anew",
        NOTE,
        "nothing has to be done now; find out what changes it: oakctl host run {host} --sudo -- "
        "nft monitor",
    ),
    ("made anew", NOTE, "nothing has to be done now; something else on the host ends it"),
    (
        "was put back",
        NOTE,
        "nothing has to be done now; see what was started there: oakctl host run {host} --sudo -- "
        "journalctl -n 50",
    ),
    (
        "turned on again",
        NOTE,
        "nothing has to be done now; see what sets it: oakctl host run {host} --sudo -- "
        "grep -rs ip_forward /etc/sysctl.d /etc/sysctl.conf /etc/ufw",
    ),
    ("rules:", FAULT, "oakctl host run {host} --sudo -- nft list table ip oakctl"),
    ("was changed by somebody", FAULT, "oakctl host run {host} --sudo -- nft list table ip oakctl"),
    (
        "service address",
        FAULT,
        "give one of the two another address under `addresses` in its descriptor, or none",
    ),
    (
        "is the overlay's",
        FAULT,
        "give that network other addresses, or take the host out of it; see the way there: "
        "oakctl host run {host} -- ip -4 route",
    ),
    ("is full", FAULT, "let others run what comes: oakctl worker cordon {node}"),
    (
        "udp port",
        FAULT,
        "see who has it: oakctl host run {host} --sudo -- ss -lunp; then stop that",
    ),
    (
        "relay does not run",
        FAULT,
        "type `oakctl worker add` again for it, which harms nothing",
    ),
    ("forwarding", FAULT, "oakctl host run {host} --sudo -- iptables -S DOCKER-USER"),
    ("conntrack", FAULT, "oakctl host run {host} --sudo -- sysctl net.netfilter.nf_conntrack_max"),
    ("flows", FAULT, "oakctl host run {host} --sudo -- conntrack -C"),
    ("wireguard", FAULT, "oakctl playbook run wireguard {host}"),
    ("tunnel", FAULT, "oakctl host run {host} --sudo -- wg show oakwg0"),
)


def of_problems(node: str, host: str, problems: Iterable[str]) -> Iterable[Trouble]:
    """A node's own complaints; `host` is the machine that it is, empty where that is not known."""
    for words in problems:
        if words == no_overlay.REASON:
            continue  # told with its reason, by whoever looks at the node's mode
        severity, hint = FAULT, "oakctl worker show {node}"
        for mark, how_bad, what in _KNOWN:
            if mark in words.lower():
                severity, hint = how_bad, what
                break
        if "{host}" in hint and not host:
            hint = "oakctl worker show {node}"
        yield Trouble(node, words, hint.replace("{host}", host).replace("{node}", node), severity)


# What is in the reason for no way at all → what to do.
_NO_WAY: tuple[tuple[str, str], ...] = (
    (
        "no answer",
        "let UDP through to that address and port: firewalls on the way, and that host's",
    ),
    (
        "there is no relay",
        "give one of the two an address that others reach, or the cluster a relay",
    ),
    ("no overlay", "oakctl overlay status says why that node has none"),
)


def of_way(reason: str) -> str:
    """What to do where nothing gets from a node to another."""
    for mark, what in _NO_WAY:
        if mark in reason:
            return what
    return "oakctl overlay status says what each of the two can do"
