"""What measurements on real hosts share: a plain ssh client, and counting what a host was sent.

Belongs here: doing things as somebody without oakctl would, and reading counters. Does not belong
here: what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from oakctl import paths
from oakctl.cli import ssh
from oakctl.lab.machines.record import MachineFiles
from oakctl.lab.machines.topology import host_node
from oakctl.model.views import HostView

COMMAND_S = 180.0
TRANSFER_S = 900.0  # of an image
COUNT_SESSIONS = (
    "mkdir -p /etc/ssh/sshd_config.d && "
    "echo 'LogLevel VERBOSE' > /etc/ssh/sshd_config.d/00-bench.conf && systemctl reload ssh"
)


class Failed(Exception):
    """A command of the measurement itself failed."""


async def run(host: HostView, script: str) -> str:
    """Standard output of `script`, run as root on `host` by the system's ssh; raises Failed."""
    wrapped = f"sudo -n sh -c {shlex.quote(script)}"
    arguments = [*ssh.arguments(host, ()), wrapped]
    process = await asyncio.create_subprocess_exec(
        arguments[0], "-T", *arguments[1:],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Failed(f"{host.name}: {script!r} did not end within {COMMAND_S:.0f} s") from error
    if process.returncode:
        raise Failed(f"{host.name}: {script!r}: {err.decode(errors='replace').strip()}")
    return out.decode(errors="replace")


async def pipe(source: HostView, save: str, target: HostView, load: str) -> None:
    """`ssh source save | ssh target load`, both as root; raises Failed."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing) as writer:
        saving = await _ssh(source, save, stdin=subprocess.DEVNULL, stdout=writer.fileno())
        loading = await _ssh(target, load, stdin=reader.fileno(), stdout=subprocess.DEVNULL)
    await asyncio.gather(_ended(source, save, saving), _ended(target, load, loading))


async def feed(target: HostView, load: str, file: Path) -> None:
    """`ssh target load < file`, as root; raises Failed."""
    with file.open("rb") as content:
        loading = await _ssh(target, load, stdin=content.fileno(), stdout=subprocess.DEVNULL)
    await _ended(target, load, loading)


async def _ssh(host: HostView, script: str, stdin: int, stdout: int) -> asyncio.subprocess.Process:
    wrapped = f"sudo -n sh -c {shlex.quote(script)}"
    program, *arguments = ssh.arguments(host, ())
    return await asyncio.create_subprocess_exec(
        program, "-T", *arguments, wrapped, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    )


async def _ended(host: HostView, script: str, process: asyncio.subprocess.Process) -> None:
    try:
        _, err = await asyncio.wait_for(process.communicate(), TRANSFER_S)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Failed(f"{host.name}: {script!r} did not end within {TRANSFER_S:.0f} s") from error
    if process.returncode:
        raise Failed(f"{host.name}: {script!r}: {err.decode(errors='replace').strip()}")


async def received_bytes(lab: str, host: str) -> int:
    """Bytes that came in over the network since the host's cables were made.

    Read in the host's network namespace, so that looking at it sends nothing.
    """
    namespace = MachineFiles(lab).network(host_node(host))
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={namespace}", "ip", "-j", "-s", "link", "show",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    links = [link for link in json.loads(out) if link["ifname"] != "lo" and "stats64" in link]
    return sum(
        int(link["stats64"]["rx"]["bytes"]) for link in links if "docker" not in link["ifname"]
    )


async def sessions(host: HostView) -> int:
    """Commands and shells that its SSH server has begun; needs COUNT_SESSIONS done before."""
    # By identifier: a session's own process is in the user's scope, not in the server's unit.
    found = "journalctl -t sshd -t sshd-session | grep -c 'Starting session:' || true"
    return int(await run(host, found))


def spread(seconds: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(seconds):6.1f}  ({min(seconds):.1f} to {max(seconds):.1f})"


def own_directories(directory: Path) -> dict[str, str]:
    """Environment for a run whose state and configuration are in `directory`."""
    cache = paths.cache_directory().parent
    return {
        "XDG_CACHE_HOME": str(cache),
        "XDG_STATE_HOME": str(directory / "state"),
        "XDG_CONFIG_HOME": str(directory / "config"),
    }
