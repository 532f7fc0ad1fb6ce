"""A container of ours as Docker describes it. Pure.

Belongs here: our labels, and reading the answer of an inspection. Does not belong here: asking
(`engine`).
"""

from __future__ import annotations

import calendar
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oakctl.orchestration.worker.record import Record

INSTANCE = "oakctl.instance"
EPOCH = "oakctl.epoch"
ATTEMPT = "oakctl.attempt"
CLUSTER = "oakctl.cluster"
WORKER = "oakctl.worker"
PREFIX = "oakctl.prefix"
GPUS = "oakctl.gpus"
TPUS = "oakctl.tpus"

LIVE = frozenset({"running", "paused", "restarting"})
ENDED = frozenset({"exited", "dead", "removed"})
REMOVED = "removed"  # our word: it was there, and is not


@dataclass(frozen=True)
class Key:
    """Which start of which instance a container is."""

    name: str
    epoch: int
    attempt: int


@dataclass(frozen=True)
class Seen:
    """One container."""

    id: str
    key: Key | None  # None: its labels are not what we write
    state: str  # created, running, paused, restarting, exited, dead, removed
    created_at: float = 0.0  # seconds since the epoch, whole ones
    pid: int = 0
    start: int = 0  # of that process, ticks after boot; 0: not known
    exit_code: int | None = None
    out_of_memory: bool = False
    error: str = ""
    address: str = ""  # on its bridge
    stop_signal: str = "SIGTERM"
    gpus: tuple[str, ...] = ()
    tpus: tuple[str, ...] = ()

    @property
    def lives(self) -> bool:
        """Whether something runs in it."""
        return self.state in LIVE

    @property
    def removed(self) -> Seen:
        """The same after somebody took it away."""
        return replace(self, state=REMOVED, pid=0, start=0, exit_code=None)


def key_of(labels: Mapping[str, str]) -> Key | None:
    """Which start the labels name."""
    with contextlib.suppress(KeyError, ValueError):
        return Key(labels[INSTANCE], int(labels[EPOCH]), int(labels[ATTEMPT]))
    return None


def key_of_record(known: Record) -> Key:
    """Which container belongs to this record."""
    return Key(known.name, known.epoch, known.attempt)


def read(found: Mapping[str, Any]) -> Seen:
    """A container from the answer of an inspection."""
    state, config = found.get("State") or {}, found.get("Config") or {}
    labels = config.get("Labels") or {}
    status = str(state.get("Status", ""))
    return Seen(
        id=str(found["Id"]),
        key=key_of(labels),
        state=status,
        created_at=seconds(str(found.get("Created") or "")),
        pid=int(state.get("Pid") or 0),
        exit_code=int(state.get("ExitCode") or 0) if status in ENDED else None,
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        address=_address(found.get("NetworkSettings") or {}),
        stop_signal=str(config.get("StopSignal") or "SIGTERM"),
        gpus=_list(labels.get(GPUS, "")),
        tpus=_list(labels.get(TPUS, "")),
    )


def seconds(stamp: str) -> float:
    """Docker's time ("2026-01-02T03:04:05.678Z") as seconds since the epoch, without a fraction."""
    if len(stamp) < 20:
        return 0.0
    return float(calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")))


def _address(network: Mapping[str, Any]) -> str:
    found = [str(one.get("IPAddress") or "") for one in (network.get("Networks") or {}).values()]
    return next((address for address in (network.get("IPAddress"), *found) if address), "")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def unwanted(found: Iterable[Seen], running: Mapping[str, Record]) -> tuple[Seen, ...]:
    """Containers of ours that are no start of a running record: strays, and what has ended."""
    wanted = {key_of_record(known) for known in running.values()}
    return tuple(one for one in found if one.key not in wanted)
