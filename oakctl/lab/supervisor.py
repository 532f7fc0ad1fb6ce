"""The plain supervisor of one host: keeps its units running, and adopts those that already do.

Belongs here: units and their processes. Does not belong here: when a unit is started again
(`unit_state`, pure), or how requests arrive (`control`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from oakctl import paths
from oakctl.errors import NotFound
from oakctl.lab import processes, unit_state
from oakctl.lab.children import Child
from oakctl.lab.description import write_atomically
from oakctl.lab.place import Place
from oakctl.lab.unit_state import Phase, UnitState
from oakctl.model import wire
from oakctl.model.config import HostLayout, Unit

log = logging.getLogger("oakctl.lab.supervisor")

STOP_GRACE_S = 5.0
ADOPTED_POLL_S = 0.25  # who is not our child does not tell us when it ends
LONGEST_LOG = 4 * 1024 * 1024  # bytes; looked at when a unit starts
CANNOT_START = 127  # the shell's exit code for a program that is not there


@dataclass(frozen=True)
class StoredUnit:
    """A unit in the host's `etc/units`; `wanted` false: stopped until it is started again."""

    unit: Unit
    wanted: bool = True


@dataclass(frozen=True)
class RunRecord:
    """What a restarted keeper needs to adopt a unit's process."""

    pid: int
    start: int  # clock ticks since boot: with the pid, this names one process for ever
    since: float
    restarts: int


class _Kept:
    """One unit with its process and the task that keeps it."""

    def __init__(self, stored: StoredUnit) -> None:
        self.stored = stored
        self.state = UnitState()
        self.start = 0
        self.child: Child | None = None
        self.task: asyncio.Task[None] | None = None

    def alive(self) -> bool:
        return bool(self.state.pid) and processes.alive(self.state.pid, self.start)


class HostSupervisor:
    """All units of one host. Every method leaves what it promises on disk before it returns."""

    def __init__(
        self,
        *,
        lab: str,
        host: str,
        home: Path,
        running: Path,
        environment: dict[str, str],
        place: Place,
    ) -> None:
        self._lab, self._host, self._home = lab, host, home
        self._layout = HostLayout(str(home / ".oakctl"))
        self._running = running
        self._environment = environment
        self._place = place
        self._units: dict[str, _Kept] = {}
        self._lock = asyncio.Lock()

    async def resume(self) -> None:
        """Read the stored units; adopt those that run, start those that are wanted."""
        async with self._lock:
            for file in sorted(Path(self._layout.etc("units")).glob("*.json")):
                try:
                    stored = wire.decode(file.read_bytes(), StoredUnit)
                except wire.Malformed as error:
                    log.error("%s: unit %s is left alone: %s", self._host, file, error)
                    continue
                kept = self._units.setdefault(stored.unit.name, _Kept(stored))
                self._adopt(kept)
                if stored.wanted:
                    self._keep(kept)
                else:  # the keeper was killed while it stopped it
                    await self._end(kept)

    async def halt(self) -> None:
        """Let go of every unit without touching its process; `resume` goes on."""
        async with self._lock:
            for kept in self._units.values():
                await self._release(kept)
            self._units.clear()

    async def put(self, unit: Unit) -> None:
        """Store `unit` and see that it runs as it is described now."""
        async with self._lock:
            kept = self._units.get(unit.name)
            if kept is None:
                kept = self._units[unit.name] = _Kept(StoredUnit(unit))
            elif kept.stored.unit != unit:
                await self._end(kept)
            kept.stored = StoredUnit(unit)
            self._store(kept)
            self._keep(kept)

    async def start(self, name: str) -> None:
        """See that a stored unit runs; raises NotFound."""
        async with self._lock:
            await self._start(self._find(name))

    async def stop(self, name: str) -> None:
        """End the unit's process; it stays stopped over restarts. Raises NotFound."""
        async with self._lock:
            await self._stop(self._find(name))

    async def restart(self, name: str) -> None:
        """Stop, then start; raises NotFound."""
        async with self._lock:
            kept = self._find(name)
            await self._end(kept)
            await self._start(kept)

    async def remove(self, name: str) -> None:
        """Stop the unit and forget it; raises NotFound."""
        async with self._lock:
            kept = self._find(name)
            await self._stop(kept)
            Path(self._layout.unit(name)).unlink(missing_ok=True)
            self._record_file(name).unlink(missing_ok=True)
            del self._units[name]

    def status(self, name: str = "") -> dict[str, dict[str, Any]]:
        """Every unit, or the one that is named, in the words of the protocol; raises NotFound."""
        units = {name: self._find(name)} if name else self._units
        return {
            unit: {
                "state": kept.state.phase.value,
                "pid": self._place.number_of(kept.state.pid),
                "restarts": kept.state.restarts,
                "since": kept.state.since,
                "exit_code": kept.state.exit_code,
            }
            for unit, kept in units.items()
        }

    def _find(self, name: str) -> _Kept:
        try:
            return self._units[name]
        except KeyError:
            raise NotFound(f"{self._host} has no unit {name}") from None

    async def _start(self, kept: _Kept) -> None:
        kept.stored = StoredUnit(kept.stored.unit)
        self._store(kept)
        self._keep(kept)

    async def _stop(self, kept: _Kept) -> None:
        # Durable first: a keeper that dies in the middle must not start it again.
        kept.stored = StoredUnit(kept.stored.unit, wanted=False)
        self._store(kept)
        await self._end(kept)

    def _store(self, kept: _Kept) -> None:
        file = Path(self._layout.unit(kept.stored.unit.name))
        paths.private_directory(file.parent)
        write_atomically(file, wire.encode(kept.stored))

    def _record_file(self, name: str) -> Path:
        return self._running / f"{name}.json"

    def _adopt(self, kept: _Kept) -> None:
        record = self._recorded(kept.stored.unit.name) or self._unrecorded(kept.stored.unit)
        if record is not None and processes.alive(record.pid, record.start):
            kept.start = record.start
            kept.state = UnitState(Phase.RUNNING, record.since, record.pid, record.restarts)
            log.info("%s: adopted %s, pid %d", self._host, kept.stored.unit.name, record.pid)

    def _recorded(self, name: str) -> RunRecord | None:
        try:
            return wire.decode(self._record_file(name).read_bytes(), RunRecord)
        except (FileNotFoundError, wire.Malformed):
            return None

    def _unrecorded(self, unit: Unit) -> RunRecord | None:
        """A process that a keeper started and did not live to write down."""
        for process in processes.of_lab(self._lab, self._host, unit.name):
            if process.command == unit.argv:
                return RunRecord(process.pid, process.start, time.time(), 0)
        return None

    def _keep(self, kept: _Kept) -> None:
        """Start the task that keeps the unit, and its process, unless both are there.

        The process is started here and not in the task, so that whoever asked is answered
        with what became of it.
        """
        if kept.task is not None and not kept.task.done():
            if kept.state.phase is Phase.RUNNING:
                return
            kept.task.cancel()  # asked for while it waits: do not wait any longer
        if not kept.alive():
            self._spawn(kept)
        kept.task = asyncio.create_task(self._run(kept), name=f"unit {kept.stored.unit.name}")

    async def _run(self, kept: _Kept) -> None:
        while True:
            if kept.state.phase is Phase.RUNNING:
                exit_code = await self._wait(kept)
                kept.state = unit_state.ended(kept.state, exit_code, time.time())
                name = kept.stored.unit.name
                log.warning("%s: %s ended (exit code %s)", self._host, name, exit_code)
            await asyncio.sleep(unit_state.wait_s(kept.state, time.time()))
            self._spawn(kept)

    async def _wait(self, kept: _Kept) -> int | None:
        if kept.child is not None:
            return await asyncio.shield(kept.child.exit_code)
        while True:
            if not kept.alive():
                return None
            await asyncio.sleep(ADOPTED_POLL_S)

    def _spawn(self, kept: _Kept) -> None:
        unit = kept.stored.unit
        try:
            kept.child = self._execute(unit)
        except OSError as error:
            log.error("%s: %s can't be started: %s", self._host, unit.name, error)
            kept.child = None
            kept.state = unit_state.ended(kept.state, CANNOT_START, time.time())
            return
        kept.start = kept.child.start
        kept.state = unit_state.started(kept.state, kept.child.pid, time.time())
        record = RunRecord(kept.child.pid, kept.start, kept.state.since, kept.state.restarts)
        log.info("%s: started %s, pid %d", self._host, unit.name, kept.child.pid)
        try:
            paths.private_directory(self._running)
            write_atomically(self._record_file(unit.name), wire.encode(record))
        except OSError as error:  # a full disk: a restarted keeper finds it by its command
            log.error("%s: %s is not written down: %s", self._host, unit.name, error)

    def _execute(self, unit: Unit) -> Child:
        output = Path(self._layout.log(unit.name))
        paths.private_directory(output.parent)
        if output.exists() and output.stat().st_size > LONGEST_LOG:
            output.replace(output.with_name(f"{output.name}.1"))
        mark = {processes.UNIT_VARIABLE: unit.name}
        with output.open("ab") as sink:
            output.chmod(0o600)
            try:
                return self._place.spawn(
                    unit.argv,
                    environment=self._environment | unit.environment | mark,
                    directory=Path(unit.working_directory or self._home),
                    stdout=sink,
                    stderr=sink,
                )
            except OSError as error:
                sink.write(f"can't be started: {error}\n".encode())
                raise

    async def _release(self, kept: _Kept) -> None:
        if kept.task is not None:
            kept.task.cancel()
            await asyncio.wait([kept.task])
            kept.task = None

    async def _end(self, kept: _Kept) -> None:
        """End the unit's process and nothing else: instances outlive their agent."""
        await self._release(kept)
        pid = kept.state.pid
        if kept.alive():
            processes.send(pid, SIGTERM)
            try:
                await asyncio.wait_for(self._wait(kept), STOP_GRACE_S)
            except TimeoutError:
                processes.send(pid, SIGKILL)
        exit_code = await self._wait(kept) if pid else kept.state.exit_code
        kept.child = None
        kept.state = unit_state.stopped(kept.state, exit_code, time.time())
        self._record_file(kept.stored.unit.name).unlink(missing_ok=True)
