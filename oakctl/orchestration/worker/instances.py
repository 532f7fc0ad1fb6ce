"""Carries out what `reconcile` decides, and looks at what became of it.

Belongs here: the records of all instances, in memory and on disk, and one method per action.
Does not belong here: deciding (`reconcile`, `record`), or processes (`runtime`). A record is on
disk before what it announces is done, so that an agent killed in between knows of it.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from oakctl.model import wire
from oakctl.model.instance import DesiredInstance, ObservedInstance
from oakctl.orchestration.worker import reconcile, record, shim, storage
from oakctl.orchestration.worker.attempt import Attempt
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.launch import CannotStart, NotYet
from oakctl.orchestration.worker.record import Phase, Record
from oakctl.orchestration.worker.runtime import PROCESS, Runtimes
from oakctl.orchestration.worker.supplies import Supplies

log = logging.getLogger("oakctl.worker.instances")


class Instances:
    """All instances on this node. `is_ready` says whether an instance's probe holds."""

    def __init__(
        self,
        files: InstanceFiles,
        runtimes: Runtimes,
        supplies: Supplies,
        is_ready: Callable[[str], bool],
    ) -> None:
        self._files = files
        self._runtimes = runtimes
        self._supplies = supplies
        self._is_ready = is_ready
        self._looks: dict[str, Attempt] = {}
        self._strays: set[str] = set()
        self.records: dict[str, Record] = {}
        self.version = 0  # grows with each change of a record

    def load(self) -> None:
        """Find what an earlier agent left: its records, and what still runs of them."""
        for name in self._files.names():
            found = storage.read_message(self._record_path(name), Record)
            if found is None or found.name != name:
                log.warning("%s: its record is lost; what is left of it is ended", name)
                self._strays.add(name)
                continue
            self.records[name] = found
            if found.phase is Phase.RUNNING:
                log.info("%s: found again", name)

    def observe(self, now: float) -> None:
        """Look at every instance that is started, and take note of what ended."""
        for name, known in list(self.records.items()):
            if known.phase is Phase.RUNNING:
                look = self._runtimes.of(known.desired).look(known)
                self._looks[name] = look
                changed = self._after(known, look, now) if look.over else record.settled(known, now)
                if changed is not known:
                    self._keep(changed)
        for name in list(self._strays):
            self._clear_stray(name)

    def carry_out(self, action: reconcile.Action, now: float) -> None:
        """One action; whatever cannot be done becomes a reason in the instance's state."""
        if isinstance(action, reconcile.Prepare):
            self._prepare(action.desired, now)
        elif isinstance(action, reconcile.Fetch):
            self._supplies.fetch(action.need)
        elif isinstance(action, reconcile.Start):
            self._start(action.desired, now)
        elif isinstance(action, reconcile.Stop):
            self._stop(action.name, now)
        elif isinstance(action, reconcile.Kill):
            self._kill(action.name)
        else:
            self._forget(action.name)

    def observed(self) -> tuple[ObservedInstance, ...]:
        """What the report says of each."""
        return tuple(self._observed(self.records[name]) for name in sorted(self.records))

    def running(self) -> Mapping[str, Record]:
        """Those with a live process, by name."""
        return {
            name: known
            for name, known in self.records.items()
            if known.phase is Phase.RUNNING and self.pid(name)
        }

    def pid(self, name: str) -> int:
        """The instance's process id; 0: it has none."""
        look = self._looks.get(name)
        return look.process.pid if look and look.process and not look.over else 0

    def at_addresses(self) -> dict[str, tuple[int, bool]]:
        """Address → process id (0: none) and whether it is ready, of each that is not gone."""
        here = [known for known in self.records.values() if not known.gone]
        return {k.desired.address: (self.pid(k.name), self._is_ready(k.name)) for k in here}

    def shim_pids(self) -> set[int]:
        """The shims at work; the end of one is news."""
        looks = (self._looks.get(name) for name in self.records)
        shims = {look.process.shim for look in looks if look and look.process and not look.over}
        return shims - {0}

    def address(self, known: Record) -> str:
        """Where the ports of a running instance are reached from here."""
        return self._runtimes.of(known.desired).address(known)

    def have(self, virtualization: str) -> bool:
        """Whether some instance here is of this kind."""
        kinds = (known.desired.service.virtualization for known in self.records.values())
        return virtualization in kinds

    def hasty(self) -> bool:
        """Whether something starts or ends that nobody will tell the agent of."""
        return any(
            known.phase is Phase.RUNNING and (known.stopping_since or not self.pid(name))
            for name, known in self.records.items()
            if known.desired.service.virtualization == PROCESS
        )

    def sweep(self) -> None:
        """Tidy up behind instances that ended."""
        self._runtimes.sweep({n: r for n, r in self.records.items() if r.phase is Phase.RUNNING})
        self._supplies.sweep({n for n, r in self.records.items() if r.phase is not Phase.ENDED})

    def rotate_logs(self) -> None:
        """Keep every log bounded."""
        for name, known in self.records.items():
            if known.phase is Phase.RUNNING:
                try:
                    self._files.log(name).rotate()
                except OSError as error:
                    log.warning("%s: its log: %s", name, storage.in_words(error))

    def _after(self, known: Record, look: Attempt, now: float) -> Record:
        name, runtime = known.name, self._runtimes.of(known.desired)
        if look.refused:
            log.warning("%s: cannot be started: %s", name, look.refused)
            return record.could_not_start(known, now, look.refused)
        runtime.signal(known, signal.SIGKILL)  # what outlived its leader
        if look.never_ran:
            log.info("%s: its start was cut off", name)
            return record.never_ran(known, now)
        starved = look.exit_code != 0 and runtime.ran_out_of_memory(known)
        limit = f"its limit is {known.desired.service.requests.memory_mb} MiB"
        reason = look.words or record.exit_in_words(
            look.exit_code, out_of_memory=starved, limit=limit
        )
        if shim.failed_to_run(look):
            reason = look.error
        log.info("%s: %s", name, reason)
        return record.ended(known, now, look.exit_code, reason)

    def _prepare(self, desired: DesiredInstance, now: float) -> None:
        name = desired.name
        before = self.records.get(name)
        if not self._runtimes.clear(name):
            log.info("%s: an earlier incarnation still ends", name)
            return
        self._strays.discard(name)
        self._files.wipe(name)
        self._looks.pop(name, None)
        log.info("%s: assigned with epoch %d", name, desired.epoch)
        self._keep(record.new(desired, now, before.attempt if before else 0))

    def _start(self, desired: DesiredInstance, now: float) -> None:
        known = self.records[desired.name]
        runtime = self._runtimes.of(desired)
        try:
            ready = runtime.prepare(desired, known.attempt + 1)
        except NotYet:
            return  # what it waits for wakes the agent
        except (CannotStart, OSError) as error:
            self._could_not_start(known, error, now)
            return
        try:
            begun = record.starting(known, desired, now, limits=ready.limits, bind=ready.bind)
            self._write(begun)
            self.records[known.name] = known = begun
            runtime.start(ready)
        except (CannotStart, OSError) as error:
            self._could_not_start(known, error, now)
            return
        self._supplies.spent(known.name)
        log.info("%s: started (attempt %d)", known.name, known.attempt)
        self._looks[known.name] = runtime.look(known)

    def _could_not_start(self, known: Record, error: Exception, now: float) -> None:
        self._supplies.spent(known.name)
        reason = storage.in_words(error) if isinstance(error, OSError) else str(error)
        log.warning("%s: cannot be started: %s", known.name, reason)
        self._keep(record.could_not_start(known, now, reason))

    def _stop(self, name: str, now: float) -> None:
        known = record.stopping(self.records[name], now)
        log.info("%s: asked to end", name)
        self._keep(known)
        if known.phase is Phase.RUNNING:
            self._runtimes.of(known.desired).signal(known, signal.SIGTERM)

    def _kill(self, name: str) -> None:
        known = self.records[name]
        if self._runtimes.of(known.desired).signal(known, signal.SIGKILL):
            log.info("%s: killed, its grace period is over", name)

    def _forget(self, name: str) -> None:
        try:
            self._files.remove(name)
        except OSError as error:
            log.warning("%s: cannot be removed yet: %s", name, storage.in_words(error))
            return
        self.records.pop(name)
        self.version += 1
        self._looks.pop(name, None)
        log.info("%s: forgotten", name)

    def _clear_stray(self, name: str) -> None:
        if self._runtimes.clear(name):
            with contextlib.suppress(OSError):
                self._files.remove(name)
                self._strays.discard(name)

    def _observed(self, known: Record) -> ObservedInstance:
        name = known.name
        status = self._supplies.status(known.desired)
        return record.observed(
            known,
            pid=self.pid(name),
            ready=self._is_ready(name),
            progress=status.progress,
            signs=status.signs,
            waiting_for="" if self.pid(name) else status.problem,
            unfit="" if self.pid(name) else status.unfit,
        )

    def _keep(self, changed: Record) -> None:
        self.records[changed.name] = changed
        self.version += 1
        try:
            self._write(changed)
        except OSError as error:
            # What is on disk is older and leads a new agent to the same conclusion later.
            log.warning("%s: its record: %s", changed.name, storage.in_words(error))

    def _write(self, changed: Record) -> None:
        storage.replace_file(self._record_path(changed.name), wire.encode(changed))

    def _record_path(self, name: str) -> Path:
        return self._files.directory(name) / "record.json"
