"""What a lab leaves on this machine: what can be seen of it before, and after it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from operator import not_
from pathlib import Path

from oakctl import paths
from oakctl.lab.machines import record
from tests.lab_machines.hosts.stage import NAME
from tests.waiting import until_now

SETTINGS = r"net\.ipv[46]\.(ip_forward|ping_group_range|conf\.(all|default)\..*)"


def picture() -> dict[str, set[str]]:
    """What this machine looks like to those who have nothing to do with labs.

    Other labs, of other users or tests, may come and go meanwhile; what is theirs by its name
    is left out.
    """

    def out(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True).stdout

    nspawn = Path("/run/systemd/nspawn")
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    seen = {
        "links": {link["ifname"] for link in json.loads(out("ip", "-j", "link"))},
        "routes": set(out("ip", "route", "show", "table", "all").splitlines()),
        "mounts": {line.split()[4] for line in mountinfo},
        "network namespaces": network_namespaces(),
        "packet rules": set(out("nft", "list", "ruleset").splitlines()),
        "cgroups": {path for path, _, _ in os.walk("/sys/fs/cgroup") if "/oakl-" in path},
        "nspawn": {str(path) for path in nspawn.glob("*/*") if path.parent.name != "locks"},
        "binfmt": {str(path) for path in Path("/proc/sys/fs/binfmt_misc").glob("*")},
        "settings": set(out("sysctl", "-a", "--pattern", SETTINGS).splitlines()),
        "netns": {str(path) for path in Path("/run/netns").glob("*")},
    }
    return {what: {item for item in items if is_ours(item)} for what, items in seen.items()}


def network_namespaces() -> set[str]:
    """Namespaces of processes, but for those that run in the cgroup of another lab."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if is_ours((process / "cgroup").read_text()):
                found.add(str((process / "ns/net").readlink()))
        except OSError:  # gone meanwhile
            continue
    return found


def is_ours(text: str) -> bool:
    """Whether `text` names no lab but the one of this module."""
    tags = set(re.findall(r"oakl-?([0-9a-f]{6})", text)) - {record.tag(record.identity(NAME))}
    directory = str(paths.state_directory())
    cache = str(paths.cache_directory())
    elsewhere = re.search(r"/oakctl/lab(s)?/", text) and not text.startswith((directory, cache))
    return not tags and not elsewhere


def assert_nothing_left(state: Path, before: dict[str, set[str]]) -> None:
    # Namespaces end some time after their last process.
    until_now("nothing more than before", lambda: new_since(before), not_, wait_s=20, step_s=0.2)
    assert list(state.rglob("*")) == []


def new_since(before: dict[str, set[str]]) -> dict[str, set[str]]:
    now = picture()
    return {what: now[what] - before[what] for what in now if now[what] - before[what]}
