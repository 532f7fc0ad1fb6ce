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

# Of the machine's own, but for forwarding: a Docker that starts beside turns that on.
SETTINGS = r"net\.ipv[46]\.(ping_group_range|conf\.(all|default)\.(?!forwarding|mc_forwarding).*)"
OF_PROCESSES = ("cgroup", "cmdline", "environ")
WHOLE = ("network namespaces", "binfmt", "settings")


def picture() -> dict[str, set[str]]:
    """What of this machine is a lab's of this name, or may be.

    Other labs, Docker and network namespaces, of other users or of tests that run beside these,
    come and go meanwhile. So just what names the lab counts, or lies where it puts things; and of
    the machine itself what no test beside these has to do with.
    """

    def out(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True).stdout

    nspawn = Path("/run/systemd/nspawn")
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    seen = {
        "links": {link["ifname"] for link in json.loads(out("ip", "-j", "link"))},
        "routes": set(out("ip", "route", "show", "table", "main").splitlines()),
        "mounts": {line.split()[4] for line in mountinfo},
        "network namespaces": network_namespaces(),
        "packet rules": set(out("nft", "list", "tables").splitlines()),
        "cgroups": {path for path, _, _ in os.walk("/sys/fs/cgroup") if "/oakl-" in path},
        "nspawn": {str(path) for path in nspawn.glob("*/*") if path.parent.name != "locks"},
        "binfmt": {str(path) for path in Path("/proc/sys/fs/binfmt_misc").glob("*")},
        "settings": set(out("sysctl", "-a", "--pattern", SETTINGS).splitlines()),
        "netns": {str(path) for path in Path("/run/netns").glob("*")},
    }
    return {
        what: {item for item in items if what in WHOLE or is_ours(item)}
        for what, items in seen.items()
    }


def network_namespaces() -> set[str]:
    """Namespaces of processes of the lab: by its name in their cgroup, command or environment."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = b"\n".join((process / each).read_bytes() for each in OF_PROCESSES)
            if is_ours(said.decode(errors="replace")):
                found.add(str((process / "ns/net").readlink()))
        except OSError:  # gone meanwhile
            continue
    return found - {str(Path("/proc/self/ns/net").readlink())}


def is_ours(text: str) -> bool:
    """Whether `text` names the lab of this folder, by its id or by where its files are."""
    identity = record.identity(NAME)
    tags = re.findall(r"oakl-?([0-9a-f]{6})", text)
    named = identity in text or record.tag(identity) in tags
    return named or str(paths.state_directory()) in text


def assert_nothing_left(state: Path, before: dict[str, set[str]]) -> None:
    # Namespaces end some time after their last process.
    until_now("nothing more than before", lambda: new_since(before), not_, wait_s=20, step_s=0.2)
    assert list(state.rglob("*")) == []


def new_since(before: dict[str, set[str]]) -> dict[str, set[str]]:
    now = picture()
    return {what: now[what] - before[what] for what in now if now[what] - before[what]}
