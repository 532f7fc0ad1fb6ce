"""What is found out about a host before anything is done to it: one script, one answer.

Belongs here: the script, how its answer is read (pure), and whether the host can be used at all.
Does not belong here: what follows from the facts (the playbooks).
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from oakctl.errors import OakError

if TYPE_CHECKING:
    from oakctl.remote.step import Remote

OLDEST_PYTHON = (3, 10)
PYTHONS = (  # where one may be, best first
    "python3",
    *(f"python3.{minor}" for minor in range(14, 9, -1)),
    "/usr/bin/python3",
    "/usr/local/bin/python3",
)
LEAST_DISK_MB = 100
MOST_SKEW_S = 12 * 3600.0
PROBE_DEADLINE_S = 60.0  # a Pi with a slow card takes seconds for its first Python

# What `dpkg --print-architecture` and the machine field of an ELF header call a userland: a
# 64-bit kernel often runs a 32-bit one, so that `uname -m` is the last resort.
DEBIAN = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686"}
ELF = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}

SCRIPT = r"""
LC_ALL=C; export LC_ALL
say() { printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
printf '\nbegin %s\n' "$1"
say user "$(id -un)"
say uid "$(id -u)"
say home "$HOME"
say hostname "$(uname -n)"
say dpkg "$(dpkg --print-architecture 2>/dev/null)"
say elf "$(od -An -v -tx1 -N20 /bin/sh 2>/dev/null | tr -d ' \n')"
say kernel "$(uname -m)"
say system "$( [ -r /etc/os-release ] && . /etc/os-release && printf '%s' "$PRETTY_NAME" )"
say init "$(cat /proc/1/comm 2>/dev/null)"
say cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null)"
say memory_kb "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo 2>/dev/null)"
say disk_kb "$(df -Pk "$HOME" 2>/dev/null | awk 'NR == 2 { print $4 }')"
say writable "$( [ -w "$HOME" ] && echo yes )"
say clock "$(date +%s)"
env | sed -n 's/^OAKCTL_/env.OAKCTL_/p'
ask='
import sys
reason = ""
try:
    import asyncio, ssl, zlib
except ImportError as error:
    reason = "minimal: %s" % error
print("\t".join([sys.executable, ".".join(map(str, sys.version_info[:3])), reason]))
'
nonce=$1
shift
for name in "$@"; do
    path=$(command -v "$name" 2>/dev/null) || continue
    case " $seen " in *" $path "*) continue ;; esac
    seen="$seen $path"
    say python "$path	$("$path" -I -c "$ask" </dev/null 2>&1 | tail -n 1)"
done
awk '$4 == "0A" && $2 ~ /:107E$/ { print $2, $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null |
while read -r address inode; do
    pid=$(ls -l /proc/[0-9]*/fd/ 2>/dev/null | awk -v wanted="socket:[$inode]" '
        /^\/proc\// { split($1, part, "/"); pid = part[3] }
        index($0, wanted) { print pid; exit }')
    command=$([ -n "$pid" ] && tr '\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null)
    say listen "$address	$pid	$command"
done
printf '\nend %s\n' "$nonce"
"""


@dataclass(frozen=True)
class Listener:
    """Who has the bus's port. `pid` is 0 where it belongs to another user."""

    address: str  # "0.0.0.0", "::", "127.4.0.1"
    pid: int = 0
    command: str = ""


@dataclass(frozen=True)
class HostFacts:
    """A host, as it was when it was asked. Texts come from the host and are not to be trusted."""

    hostname: str = ""
    user: str = ""
    uid: int = -1
    home: str = ""
    architecture: str = ""  # of the userland: x86_64, aarch64, armv7l
    system: str = ""  # "Debian GNU/Linux 12 (bookworm)"
    python: str = ""  # the interpreter to use, absolute; empty: none is good enough
    python_version: str = ""
    python_reason: str = ""  # why none is good enough
    supervisor: str = ""  # "plain:SOCKET", "systemd", or empty
    environment: Mapping[str, str] = field(default_factory=dict)  # OAKCTL_* of the session
    cpus: int = 0
    memory_mb: int = 0  # MiB, in all
    disk_free_mb: int = 0  # MiB, where the home directory is
    home_writable: bool = False
    listeners: tuple[Listener, ...] = ()  # on the bus's port
    clock: float = 0.0  # the host's seconds since the epoch

    def listener_on(self, address: str) -> Listener | None:
        """Who has the bus's port on `address` or on all addresses; empty: on any."""
        for listener in self.listeners:
            if not address or listener.address in (address, "0.0.0.0", "::"):
                return listener
        return None


def probe(remote: Remote) -> HostFacts:
    """Ask the host; raises OakError when its answer is cut off, Unreachable when it is gone."""
    nonce = secrets.token_hex(8)
    answer = remote.run(
        f"sh -s {nonce} {' '.join(PYTHONS)}",
        stdin=SCRIPT.encode(),
        timeout_s=PROBE_DEADLINE_S,
        check=False,
    )
    try:
        return parse(answer.stdout, nonce)
    except OakError as error:
        raise OakError(f"{remote.name}: {error.message}", details=answer.last_lines()) from error


def require_usable(host: str, facts: HostFacts, now: float | None = None) -> None:
    """Return when a host can be made ours; raises OakError with all that is wrong there."""
    faults = list(_faults(host, facts, time.time() if now is None else now))
    if faults:
        first, *others = faults
        raise OakError(
            first.message,
            hint=first.hint,
            details=tuple(f"{other.message} ({other.hint})" for other in others),
        )


def _faults(host: str, facts: HostFacts, now: float) -> Iterator[OakError]:
    if not facts.python:
        yield OakError(
            f"{host}: no usable Python there: {facts.python_reason}",
            hint="install Python 3.10 or newer on it: sudo apt-get install python3",
        )
    if not facts.home_writable:
        yield OakError(
            f"{host}: {facts.user} cannot write to {facts.home}",
            hint="log in as a user with a writable home directory",
        )
    if facts.disk_free_mb < LEAST_DISK_MB:
        yield OakError(
            f"{host}: {facts.disk_free_mb} MiB are free in {facts.home}, "
            f"{LEAST_DISK_MB} MiB are needed",
            hint=f"make room on the file system of {facts.home}",
        )
    # The certificates are valid from yesterday on; a host without a clock of its own wakes in 1970.
    if facts.clock and abs(facts.clock - now) > MOST_SKEW_S:
        there = datetime.fromtimestamp(facts.clock, timezone.utc)
        yield OakError(
            f"{host}: its clock is wrong: it says {there:%Y-%m-%d %H:%M} UTC",
            hint=f"set it on the host: sudo date -u -s @{now:.0f}",
        )


def parse(text: str, nonce: str) -> HostFacts:
    """Read the script's answer, whatever a login shell printed around it; raises OakError."""
    rest = text.partition(f"\nbegin {nonce}\n")[2]
    body, ended, _ = rest.partition(f"\nend {nonce}\n")
    if not rest or not ended:
        raise OakError("the host's answer to the first questions was cut off")
    values: dict[str, list[str]] = {}
    for line in body.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, []).append(value.strip(" "))
    return _facts(values)


def _facts(values: Mapping[str, list[str]]) -> HostFacts:
    def one(key: str) -> str:
        return values.get(key, [""])[0]

    environment = {
        key.removeprefix("env."): found[0]
        for key, found in values.items()
        if key.startswith("env.OAKCTL_")
    }
    python, version, reason = choose_python(values.get("python", ()))
    return HostFacts(
        hostname=one("hostname"),
        user=one("user"),
        uid=_number(one("uid"), -1),
        home=one("home"),
        architecture=_architecture(one("dpkg"), one("elf"), one("kernel")),
        system=one("system"),
        python=python,
        python_version=version,
        python_reason=reason,
        supervisor=environment.get("OAKCTL_SUPERVISOR", "")
        or ("systemd" if one("init") == "systemd" else ""),
        environment=environment,
        cpus=_number(one("cpus")),
        memory_mb=_number(one("memory_kb")) // 1024,
        disk_free_mb=_number(one("disk_kb")) // 1024,
        home_writable=one("writable") == "yes",
        listeners=tuple(_listener(line) for line in values.get("listen", ())),
        clock=float(_number(one("clock"))),
    )


def choose_python(candidates: Iterable[str]) -> tuple[str, str, str]:
    """Path and version of the first interpreter that is good enough, or else why none is.

    Each candidate is a line "path TAB executable TAB version TAB what it lacks".
    """
    reasons = []
    for line in candidates:
        path, *answer = line.split("\t")
        version = answer[1] if len(answer) == 3 else ""
        if not re.fullmatch(r"\d+\.\d+\.\d+", version):
            reasons.append(f"{path} does not run: {' '.join(answer) or 'no answer'}")
        elif tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
            reasons.append(f"{path} is {version}, too old: 3.10 is the oldest that will do")
        elif answer[2]:
            reasons.append(f"{path} is {answer[2]}")
        else:
            return answer[0] or path, version, ""
    return "", "", "; ".join(reasons) or "python3 is missing"


def _architecture(dpkg: str, elf: str, kernel: str) -> str:
    if dpkg:
        return DEBIAN.get(dpkg, dpkg)
    if re.fullmatch("7f454c46[0-9a-f]{32}", elf):
        header = bytes.fromhex(elf)
        machine = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
        return ELF.get(machine, kernel)
    return kernel


def _listener(line: str) -> Listener:
    address, pid, command = [*line.split("\t"), "", ""][:3]
    return Listener(_address(address.partition(":")[0]), _number(pid), command.strip())


def _address(digits: str) -> str:
    """An address of /proc/net/tcp{,6}: 32-bit words, each in the order of the host's bytes."""
    if not re.fullmatch("([0-9A-F]{8}){1}|([0-9A-F]{8}){4}", digits):
        return digits
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _number(text: str, fallback: int = 0) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else fallback
