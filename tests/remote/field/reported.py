"""Facts as reports have them, what is found from them, and the script under a real shell."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oakctl.model.views import HostFinding
from oakctl.remote import facts, preflight, resources
from oakctl.remote.equipment import Control, Network, Place
from oakctl.remote.facts import HostFacts

NONCE = "0123"
EVERY_HOST_GETS = ("base", "bus", "cluster", "worker", "uninstall")
ON_REQUEST = ("packages", "docker_install", "wireguard", "jetson", "raspberry_pi", "reboot")
ROOM = Place(free_mb=5000, inodes=100_000, inodes_free=90_000, kind="ext4", options=("rw",))
PI = HostFacts(  # a Raspberry Pi 4 as it comes, with nothing wrong
    hostname="pi",
    user="pi",
    uid=1000,
    home="/home/pi",
    home_writable=True,
    architecture="aarch64",
    kernel="aarch64",
    python="/usr/bin/python3",
    python_version="3.11.2",
    init="systemd",
    supervisor="systemd",
    systemd_version=252,
    privilege="sudo",
    groups=("pi", "sudo"),
    opt=ROOM,
    home_place=ROOM,
    root_place=ROOM,
    control=Control("v2", memory=True),
    network=Network(wireguard="kernel", nftables="yes"),
    clock=1000.0,
    asked_at=1000.0,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="this needs root")


def read(**answers: str) -> HostFacts:
    """The facts in an answer with these lines."""
    body = "\n".join(f"{key}={value}" for key, value in answers.items())
    return facts.parse(f"\nbegin {NONCE}\n{body}\n\nend {NONCE}\n", NONCE)


def ask(*before: str, shell: str = "sh", pythons: tuple[str, ...] = (),
        **environment: str) -> HostFacts:  # fmt: skip
    """The facts of this machine, by the script; `before` is what `shell` is started by."""
    done = subprocess.run(
        [*before, shell, "-s", NONCE, *pythons],
        input=facts.SCRIPT.encode(),
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return facts.parse(done.stdout.decode(errors="replace"), NONCE)


def elsewhere(prepare: str, *, network: bool = False) -> tuple[str, ...]:
    """What `ask` is started by, for mounts or a network that nobody else sees."""
    own = ["unshare", "--mount", *(["--net"] if network else [])]
    return (*own, "sh", "-ec", f'{prepare}\nexec "$@"', "-")


def fake(folder: Path, name: str, body: str) -> None:
    """A program of that name."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def mirror(folder: Path, *without: str) -> str:
    """A PATH with every program of this machine but those."""
    folder.mkdir(exist_ok=True)
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(place).glob("*"):
            link = folder / program.name
            if program.name not in without and not (link.exists() or link.is_symlink()):
                link.symlink_to(program)
    return str(folder)


def path(folder: Path) -> str:
    """A PATH on which the programs in `folder` come first."""
    return f"{folder}:{os.environ['PATH']}"


def needs(*programs: str) -> None:
    """Skip where one of them is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")


def about(topic: str, known: HostFacts = PI, **changes: Any) -> list[HostFinding]:
    """What is found on the topic when these facts are different."""
    found = preflight.check("pi-1", replace(known, **changes))
    return [finding for finding in found if finding.topic == topic]


def only(topic: str, known: HostFacts = PI, **changes: Any) -> HostFinding:
    """The one finding on the topic."""
    found = about(topic, known, **changes)
    assert len(found) == 1, found
    return found[0]


def taken(told: HostFacts, *names: str) -> Mapping[str, Any]:
    """Some facts of those that were told, as changes."""
    return {name: getattr(told, name) for name in names}


def sources(*playbooks: str) -> list[Path]:
    """Our code that works on hosts; with names, of those playbooks and what they use."""
    folder, room = resources.data("playbooks"), Path(preflight.__file__).parent
    if not playbooks:
        return [*folder.glob("*.py"), *room.glob("*.py")]
    chosen = [folder / f"{name}.py" for name in playbooks]
    return [*chosen, *(file for file in room.glob("*.py") if file.stem not in ON_REQUEST)]


def commands(*playbooks: str) -> str:
    """Every text that is part of a command in what works on hosts."""
    texts = []
    for file in sources(*playbooks):
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("run", "root", "attend"):
                texts += [
                    n.value
                    for argument in call.args
                    for n in ast.walk(argument)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
    return "\n".join(texts)
