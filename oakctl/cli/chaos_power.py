"""Power cuts of a lab's hosts for `oakctl chaos`: noted in the lab's folder, and ended in time.

Belongs here: what room `chaos` needs of room `lab`, which know nothing of each other. As a program
(`python -m oakctl.cli.chaos_power`) it waits for the end of one cut, whoever made it being gone.
Does not belong here: cutting and turning on (`lab`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import oakctl
from oakctl.chaos.records import Healed, InForce
from oakctl.errors import Conflict, OakError
from oakctl.lab import labs, processes
from oakctl.lab.description import LabFiles, write_atomically
from oakctl.model import wire
from oakctl.model.views import HostView
from oakctl.paths import labs_directory, private_directory

STEP_S = 0.5
FOLDER = "chaos"  # below the lab's own, and gone with it
KIND = "power-cut"


@dataclass(frozen=True)
class Cut:
    """A host that lost its power by us. Times are seconds since the epoch; `until` 0: for good."""

    lab: str
    host: str
    since: float
    until: float
    token: str

    @property
    def fault(self) -> str:
        """It in one line."""
        return f"{KIND} {self.host}"


class LabPower:
    """See `chaos.power.Power`, for the labs of this state directory."""

    async def cut(self, host: HostView, for_s: float) -> None:
        """Raises NotFound without the lab, Conflict when the host is off already."""
        lab = labs.load(host.lab)
        if host.name not in lab.on:
            raise Conflict(
                f"{host.name} is off already",
                hint=f"oakctl chaos heal {host.name}; oakctl lab start {host.name} "
                f"--name {host.lab}",
            )
        now = time.time()
        note = Cut(host.lab, host.name, now, now + for_s if for_s else 0.0, secrets.token_hex(8))
        private_directory(_file(note.lab, note.host).parent)
        write_atomically(_file(note.lab, note.host), wire.encode(note))
        if for_s:  # before it is cut: whatever happens to us, it comes back
            _wait_elsewhere(note, lab.id, for_s)
        try:
            await lab.power_cut(host.name)
        except BaseException:
            _forget(note)
            raise

    def in_force(self) -> list[InForce]:
        """Hosts that somebody has turned on meanwhile are left out."""
        now = time.time()
        return [
            InForce(
                note.host,
                note.fault,
                KIND,
                note.since,
                note.until,
                note.until - now if note.until else 0.0,
            )
            for note in _notes()
            if note.host not in labs.load(note.lab).on
        ]

    async def heal(self, host: HostView) -> list[Healed]:
        """Raises what `start_host` raises."""
        note = _read(_file(host.lab, host.name)) if host.lab else None
        if note is None:
            return []
        await labs.load(note.lab).start_host(note.host)
        _forget(note)
        return [Healed(note.host, note.fault, True)]


def _file(lab: str, host: str) -> Path:
    return LabFiles(lab).directory / FOLDER / f"{host}.json"


def _read(file: Path) -> Cut | None:
    try:
        return wire.decode(file.read_bytes(), Cut)
    except (OSError, wire.Malformed):
        return None


def _notes() -> Iterator[Cut]:
    for file in sorted(labs_directory().glob(f"*/{FOLDER}/*.json")):
        note = _read(file)
        if note is not None:
            yield note


def _forget(note: Cut) -> None:
    file = _file(note.lab, note.host)
    file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others are noted there
        file.parent.rmdir()


def _wait_elsewhere(note: Cut, lab: str, seconds: float) -> None:
    """A process of the lab's that outlives this one and ends with the lab."""
    source = str(Path(oakctl.__file__).resolve().parent.parent)
    search = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {
        processes.LAB_VARIABLE: lab,
        "PYTHONPATH": os.pathsep.join(str(Path(one).absolute()) for one in search),
    }
    environment.pop(processes.HOST_VARIABLE, None)
    words = (str(_file(note.lab, note.host)), note.token, str(seconds))
    waiting = subprocess.Popen(
        [sys.executable, "-m", "oakctl.cli.chaos_power", *words],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    waiting.returncode = 0  # it is nobody's to wait for: no warning when this object goes


async def _end_in_time(file: Path, token: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (note := _read(file)) is not None and note.token == token:
        if time.monotonic() >= end:
            await labs.load(note.lab).start_host(note.host)
            _forget(note)
            return
        await asyncio.sleep(STEP_S)


def main(file: str, token: str, seconds: str) -> int:
    """Turn a host on after so many seconds, unless it was healed; returns the exit code."""
    try:
        asyncio.run(_end_in_time(Path(file), token, float(seconds)))
    except OakError:  # nobody reads it; what is noted stays, and `chaos heal` says why
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
