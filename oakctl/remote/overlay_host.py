"""Trying on a host what its overlay would be made of, where nobody sees it.

Nothing stays of a try: it is made in a network namespace that ends with it. Belongs here: asking,
and what is in force with what was asked for. Does not belong here: what follows from an answer
(`overlay_choice`), installing (`playbooks/overlay.py`).
"""

from __future__ import annotations

import json

from oakctl.overlay.kernel import passage, ruleset
from oakctl.overlay.kernel.elements import Elements
from oakctl.remote import changes, overlay_choice
from oakctl.remote.overlay_choice import HOST, KERNEL, Found, Overlay
from oakctl.remote.step import Remote

NAME = "overlay"  # the playbook, and its entry in `changes.json`
GIVEN_UP = "given_up"  # there: why what it takes could not be installed

# On its standard input our rules, with which the kernel is tried as much as nft.
PROBE = r"""
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
for each in nft ip ss wg; do have $each || echo "lacks $each"; done
if have nft; then said=$(unshare -n nft -f - 2>&1) || echo "rules $(echo $said)"; fi
if have ip && unshare -n ip link add oakctl-probe type wireguard >/dev/null 2>&1; then echo kernel
elif have wireguard-go; then
    version=$(dpkg-query -W -f '${Version}' wireguard-go 2>/dev/null) ||
        version=$(wireguard-go --version 2>/dev/null | awk 'NR == 1 { print $2 }')
    echo "program $version"
fi
if [ -e /dev/net/tun ]; then echo tun; fi
"""


def tried(remote: Remote) -> Found:
    """What the host can make of an overlay now. Raises as `Remote.root` does."""
    rules = ruleset.swap(ruleset.Networks("10.18.0.0/26"), Elements())
    return overlay_choice.read(remote.root(PROBE, stdin=rules.encode()).stdout)


def chosen(remote: Remote, asked: str) -> Overlay:
    """The overlay that the host gets as it is now, and why."""
    first = overlay_choice.by_facts(remote.facts, remote.residence, asked)
    if first.driver != KERNEL:
        return first
    return concluded(remote, tried(remote))


def concluded(remote: Remote, answer: Found) -> Overlay:
    """The overlay by this answer; where an earlier run could not install what is missing, that
    is the reason."""
    found = overlay_choice.by_probe(answer)
    if found.driver != HOST:
        return found
    given_up = changes.read(remote).get(NAME, {}).get(GIVEN_UP, "")
    return Overlay(HOST, given_up) if given_up else found


def forwarded(remote: Remote) -> str:
    """What ip_forward was before our overlay changed it; empty where that has not."""
    content = remote.read(remote.layout.state(f"overlay/{passage.NOTE}"))
    try:
        before = str(json.loads(content or b"{}").get(passage.FORWARD, ""))
    except (ValueError, AttributeError):
        return ""
    return before if before in ("0", "1") else ""
