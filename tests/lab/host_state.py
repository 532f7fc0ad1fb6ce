"""What a host is like: all that differs from the image it was made of, its units, its rules.

Belongs here: taking such a picture, and the difference of two. A host's disk is an overlay on
this machine, so what it wrote is seen here whole, whatever its own tools would leave out. Does
not belong here: which differences are right (the tests).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.fleet_hosts import Host

# What a Debian host writes by itself while it runs.
OWN = (
    *("var/log/journal/*", "var/cache/ldconfig*", "var/lib/systemd/*", "var/lib/private*"),
    *("var/tmp/systemd-private-*", "etc/.updated", "var/.updated", "etc/.pwd.lock"),
    *("etc/ld.so.cache", "var/log/wtmp*", "var/log/lastlog*", "var/log/btmp*", "var/log/*.db"),
    *("var/lib/dbus/*", "var/lib/lastlog*", "var/lib/wtmpdb*", "home/*/.sudo_as_admin_successful"),
    *("var/lib/dpkg/*", "var/backups/*", "var/lib/apt/*", "var/lib/sudo/*"),
)


# Of one run only: which of them there are depends on when it is looked.
GROWING = ("*/__pycache__*", "opt/oakctl/log/*", "opt/oakctl/run/*", "opt/oakctl/state/*/*")
# Each host and each cluster has its own.
UNIQUE = (
    *("etc/machine-id", "etc/shadow", "etc/ssh/ssh_host_*", "*.secret", "*/secret", "*.key"),
    *("*.pem", "*/users.inc", "*/users.json", "*/nats.conf"),
)


@dataclass(frozen=True)
class HostState:
    """Each part: what it is called → how it is. Nothing of a host that nobody touched."""

    files: Mapping[str, str]
    units: Mapping[str, str]
    running: frozenset[str]  # programs with their arguments
    listening: frozenset[str]
    kernel: frozenset[str]  # packet rules, addresses, links, routes, settings


def take(host: Host) -> HostState:
    """The state of `host` now; it has to be on and reachable."""
    units = host.run(
        "systemctl list-unit-files --no-legend --no-pager --full; "
        "systemctl list-units --all --no-legend --no-pager --full --plain",
        root=True,
    ).stdout
    kernel = host.run(
        "nft list ruleset; ip -o addr show; ip route show table all; ip rule; "
        "ip -o link show | sed 's/^[0-9]*: //'; cat /proc/sys/net/ipv4/ip_forward; "
        "grep -v -e ' / ' /proc/self/mounts | cut -d ' ' -f 1-3",
        root=True,
    ).stdout
    listening = host.run("ss -Hlntu | awk '{print $1, $5}'", root=True).stdout
    return HostState(
        files=dict(_files(host)),
        units=_units(units.splitlines()),
        running=frozenset(_running(host)),
        listening=frozenset(listening.splitlines()),
        kernel=frozenset(map(_steady, kernel.splitlines())),
    )


def differences(before: HostState, after: HostState) -> list[str]:
    """What is new, gone or other in `after`, a line each."""
    found = [
        *_of_mappings("file", before.files, after.files),
        *_of_mappings("unit", before.units, after.units),
    ]
    for what, one, other in (
        ("process", before.running, after.running),
        ("port", before.listening, after.listening),
        ("kernel", before.kernel, after.kernel),
    ):
        found += [f"{what} new: {each}" for each in sorted(other - one)]
        found += [f"{what} gone: {each}" for each in sorted(one - other)]
    return found


def settled(state: HostState) -> HostState:
    """`state` without what differs between two runs of the same: keys, times, what was logged."""
    files = {}
    for name, described in state.files.items():
        if not any(fnmatch.fnmatch(name, pattern) for pattern in GROWING):
            unique = any(fnmatch.fnmatch(name, pattern) for pattern in UNIQUE)
            files[name] = re.sub(r"^file \w+", "file", described) if unique else described
    return dataclasses.replace(state, files=files)


def _of_mappings(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one is None:
            found.append(f"{what} new: {name} ({other})")
        elif other is None:
            found.append(f"{what} gone: {name} ({one})")
        elif one != other:
            found.append(f"{what} changed: {name} ({one} → {other})")
    return found


def _files(host: Host) -> Iterable[tuple[str, str]]:
    image = _image(host.disk)
    for path in sorted(host.written.rglob("*")):
        name = str(path.relative_to(host.written))
        if any(fnmatch.fnmatch(name, pattern) for pattern in OWN):
            continue
        described = _described(path)
        # Touching a directory copies it up; what is as the image has it is no difference.
        if described and described != _described(image / name):
            yield name, described


def _image(disk: Path) -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == str(disk):
            options = line.rpartition(" ")[2].split(",")
            return Path(
                next(each for each in options if each.startswith("lowerdir=")).partition("=")[2]
            )
    raise AssertionError(f"{disk} is no overlay")


def _described(path: Path) -> str:
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            what = f"link to {path.readlink()}"
        elif stat.S_ISREG(found.st_mode):
            with path.open("rb") as file:
                what = f"file {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
        elif stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(0, 0):
            return "removed"  # how an overlay notes it
        else:
            what = stat.filemode(found.st_mode)[0]
    except OSError:  # it went away meanwhile, or never was
        return ""
    return f"{what} {stat.S_IMODE(found.st_mode):o} {found.st_uid}:{found.st_gid}"


# Of logins and of the machine's own chores: they come and go.
_PASSING = (
    *("session-", "user@", "user-", "run-user-", "apt-", "systemd-", "ssh@", "sshd@", "run-"),
    "network-online.target",  # reached when the first unit asks for it, and kept
)


def _units(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, *words = line.split()
        if not name.startswith(_PASSING) and not name.endswith((".device", ".slice", ".timer")):
            states = [w for w in words[:3] if w in _STATES]
            found[name] = " ".join([found.get(name, ""), *states]).strip()
    return found


_STATES = frozenset(("enabled", "disabled", "masked", "static", "generated", "active", "failed"))


def _running(host: Host) -> Iterable[str]:
    for process in host.processes():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:  # it ended meanwhile
            continue
        command = " ".join(word.decode(errors="replace") for word in words)
        passing = ("sshd", "(sd-pam)", "systemd-nspawn", "/usr/lib/systemd/", "/lib/systemd/")
        if command and parent and not command.startswith(passing) and "sftp-server" not in command:
            yield command


def _steady(line: str) -> str:
    """Without what counts up by itself: times, and the numbers of interfaces elsewhere."""
    return re.sub(r"@if\d+:? | valid_lft.*", " ", line).strip()
