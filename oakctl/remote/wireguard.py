"""WireGuard on a host: by the kernel, or else by a program, and where that comes from. Pure.

Does not belong here: doing it (`playbooks/wireguard.py`), keys and peers (`overlay`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOOLS = "wireguard-tools"
PROGRAM = "wireguard-go"
OLDEST = 20230223  # before it packets go one by one: a sixth of the speed


@dataclass(frozen=True)
class Offer:
    """A version of the program that the host's package sources have."""

    version: str  # "0.0.20231211-1"
    release: str  # "trixie", "bookworm-backports"


@dataclass(frozen=True)
class Choice:
    """What to do for a host without WireGuard in its kernel: nothing, or take `offer`.

    `problem` says why nothing can be done, `remedy` what to type.
    """

    offer: Offer | None = None
    problem: str = ""
    remedy: str = ""


def offers(madison: str) -> list[Offer]:
    """What `apt-cache madison wireguard-go` lists, best first as apt has it."""
    found = []
    for line in madison.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and columns[0] == PROGRAM:
            place = columns[2].split()  # "http://… trixie/main amd64 Packages"
            found.append(Offer(columns[1], place[1].partition("/")[0] if len(place) > 1 else ""))
    return found


def day(version: str) -> int:
    """The day in a version of wireguard-go, as 20231211; 0 where there is none."""
    found = re.search(r"(?<!\d)(20\d{6})(?!\d)", version)
    return int(found.group(1)) if found else 0


def is_good(version: str) -> bool:
    """Whether this version of wireguard-go is fast enough."""
    return day(version) >= OLDEST


def choose(installed: str, offered: list[Offer], release: str) -> Choice:
    """`installed` is the version there, `release` the distribution's name ("bookworm")."""
    if is_good(installed):
        return Choice()
    good = [offer for offer in offered if is_good(offer.version)]
    ours = [offer for offer in good if not offer.release.endswith("-backports")]
    if good:
        return Choice((ours or good)[0])
    newest = max((offer.version for offer in offered), key=day, default="")
    there = f"the package sources have {newest}, too old" if newest else "no package source has it"
    problem = f"the kernel has no WireGuard, and needs {PROGRAM} of {OLDEST} or later: {there}"
    return Choice(problem=problem, remedy=_backports(release))


def _backports(release: str) -> str:
    if release != "bookworm":
        return f"install {PROGRAM} from its makers, or use a kernel that has WireGuard"
    return (
        "add bookworm-backports to its package sources, then run this again: "
        "https://backports.debian.org/Instructions"
    )
