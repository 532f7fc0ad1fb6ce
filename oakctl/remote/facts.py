"""What a host is, found out by one shell script before anything is changed.

Belongs here: the script, the parser of what it prints, and whether a host can be used at all.
Does not belong here: what a host declares of itself (`declared`).
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, field
from typing import Protocol

from oakctl.errors import OakError

OLDEST_PYTHON = (3, 10)
PROBE_DEADLINE_S = 30.0

# One process, whatever the login shell prints before and after: only lines between the two
# nonces count. Works in dash and busybox.
SCRIPT = """
say() { printf '%s=%s\\n' "$1" "$(printf '%s' "$2" | tr '\\n' ' ')"; }
echo "$nonce"
say hostname "$(uname -n)"
say kernel_architecture "$(uname -m)"
say dpkg_architecture "$(dpkg --print-architecture 2>/dev/null)"
say elf_class "$(dd if=/bin/sh bs=1 skip=4 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')"
say system "$(. /etc/os-release 2>/dev/null && printf '%s' "$PRETTY_NAME")"
say user "$(id -un)"
say uid "$(id -u)"
say home "$HOME"
say init "$(cat /proc/1/comm 2>/dev/null)"
say clock "$(date +%s)"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say memory_kb "$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)"
say disk_free_kb "$(df -Pk "$HOME" 2>/dev/null | awk 'NR==2 {print $4}')"
say home_writable "$([ -w "$HOME" ] && echo yes || echo no)"
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
  path=$(command -v "$name") || continue
  answer=$("$path" -c 'import sys; v = sys.version_info
try:
    import asyncio, ssl
    print("%d.%d.%d complete" % v[:3])
except ImportError:
    print("%d.%d.%d minimal" % v[:3])' 2>/dev/null) || answer="unusable"
  say python "$path $answer"
done
env | sed -n 's/^\\(OAKCTL_[A-Z_]*=.*\\)/env.\\1/p'
echo "$nonce"
"""

_USERLAND = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "armel": "armv6l"}
_32_BIT = {"x86_64": "i686", "aarch64": "armv7l"}


@dataclass(frozen=True)
class HostFacts:
    """What was found. `python` is empty when there is none to use; `python_reason` says why."""

    hostname: str
    architecture: str  # of the userland: a 64-bit kernel may carry a 32-bit system
    system: str
    user: str
    uid: int
    home: str
    python: str
    python_version: str
    python_reason: str
    supervisor: str  # "plain:<socket>", "systemd", or empty
    cpus: int
    memory_mb: int  # MiB
    disk_free_mb: int  # MiB, where our prefix would be
    home_writable: bool
    clock: float  # seconds since the epoch, by the host
    environment: dict[str, str] = field(default_factory=dict)  # its OAKCTL_* variables


class Runs(Protocol):
    """The one thing that the probe needs of a connection."""

    def execute(self, command: str, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Exit code, standard output, standard error."""


def probe(host: str, connection: Runs) -> HostFacts:
    """The facts of a host; raises OakError when its answer makes no sense."""
    nonce = f"oakctl-{secrets.token_hex(8)}"
    script = f"nonce={shlex.quote(nonce)}\n{SCRIPT}".encode()
    code, output, errors = connection.execute("sh -s", script, PROBE_DEADLINE_S)
    text = output.decode(errors="replace")
    if text.count(nonce) < 2:
        raise OakError(
            f"{host}: the facts script did not run to its end (exit code {code})",
            hint=f"oakctl host ssh {host}",
            details=tuple(errors.decode(errors="replace").splitlines()[-5:]),
        )
    return parse(text, nonce)


def parse(text: str, nonce: str) -> HostFacts:
    """Facts from what the script printed between two lines of `nonce`."""
    values: dict[str, str] = {}
    environment: dict[str, str] = {}
    pythons: list[str] = []
    for line in text.split(nonce)[1].splitlines():
        key, _, value = line.partition("=")
        if key == "python":
            pythons.append(value.strip())
        elif key.startswith("env."):
            environment[key.removeprefix("env.")] = value
        elif key:
            values[key] = value.strip()
    python, version, reason = choose_python(pythons)
    declared = environment.get("OAKCTL_SUPERVISOR", "")
    return HostFacts(
        hostname=values.get("hostname", ""),
        architecture=_architecture(values),
        system=values.get("system", ""),
        user=values.get("user", ""),
        uid=_number(values, "uid"),
        home=values.get("home", ""),
        python=python,
        python_version=version,
        python_reason=reason,
        supervisor=declared or ("systemd" if values.get("init") == "systemd" else ""),
        cpus=_number(values, "cpus"),
        memory_mb=_number(values, "memory_kb") // 1024,
        disk_free_mb=_number(values, "disk_free_kb") // 1024,
        home_writable=values.get("home_writable") == "yes",
        clock=float(_number(values, "clock")),
        environment=environment,
    )


def choose_python(found: list[str]) -> tuple[str, str, str]:
    """(path, version, why none) of lines "path version complete|minimal": the first that will do."""
    reason = "there is no python3"
    for line in found:
        path, _, rest = line.partition(" ")
        version, _, kind = rest.partition(" ")
        numbers = version.split(".")
        if len(numbers) < 2 or not all(part.isdigit() for part in numbers[:2]):
            reason = f"{path} does not run"
        elif (int(numbers[0]), int(numbers[1])) < OLDEST_PYTHON:
            reason = f"{path} is Python {version}, older than 3.10"
        elif kind != "complete":
            reason = f"{path} (Python {version}) lacks asyncio or ssl, as python3-minimal does"
        else:
            return path, version, ""
    return "", "", reason


def require_usable(host: str, facts: HostFacts) -> None:
    """Raises OakError when nothing of ours can run there, with what to do about it."""
    if not facts.python:
        raise OakError(
            f"{host}: no Python to run our node code with: {facts.python_reason}",
            hint=f"on {host}: apt-get install python3, then run this again",
        )
    if not facts.home_writable:
        raise OakError(
            f"{host}: {facts.user} cannot write in {facts.home or 'a home directory'}",
            hint="log in as a user that has a home directory",
        )


def _architecture(values: dict[str, str]) -> str:
    by_package = _USERLAND.get(values.get("dpkg_architecture", ""))
    if by_package:
        return by_package
    kernel = values.get("kernel_architecture", "")
    # ELF class 1 is 32-bit: the kernel's word would be wrong for what has to run there.
    return _32_BIT.get(kernel, kernel) if values.get("elf_class") == "1" else kernel


def _number(values: dict[str, str], key: str) -> int:
    text = values.get(key, "")
    return int(text) if text.isdigit() else 0
