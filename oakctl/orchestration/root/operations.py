"""Work on hosts that goes on while nobody looks: begun, told step by step, ended.

Belongs here: running it, its steps into the store, interruption. Does not belong here: what is
done (`root.bootstrap`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlite_utils import Database

from oakctl.errors import Conflict, OakError
from oakctl.model.views import OperationView, StepEvent
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.store import events, operations
from oakctl.orchestration.root.store.database import Store
from oakctl.remote import threads

T = TypeVar("T")
log = logging.getLogger("oakctl.root.operations")

CLOSE_TIMEOUT_S = 5.0


class Progress:
    """What the work is given: where to report, whether to stop, and a thread for what blocks."""

    def __init__(self, told: Callable[[StepEvent], None]) -> None:
        self.cancelled = threading.Event()
        self.touched = False  # whether anything was begun on the host itself
        self._told = told
        self._loop = asyncio.get_running_loop()

    def report(self, step: StepEvent) -> None:
        """One line of progress of what is done on a host; from any thread."""
        self.touched = True
        self._tell(step)

    def _tell(self, step: StepEvent) -> None:
        self._loop.call_soon_threadsafe(self._told, step)

    def note(self, host: str, title: str, message: str) -> None:
        """A step that is over as soon as it is told."""
        self._tell(StepEvent(time.time(), host, title, "done", message))

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run what blocks, in a thread of its own.

        A daemon thread: one that hangs in the network must not keep the process from leaving.
        """
        return await asyncio.wrap_future(threads.begin(work, "operation"))

    async def step(self, host: str, title: str, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, told as a step of its own."""
        begun = time.time()
        self._tell(StepEvent(begun, host, title, "running"))
        try:
            result = await work
        except OakError as error:
            took = time.time() - begun
            self._tell(StepEvent(time.time(), host, title, "failed", error.message, took))
            raise
        self._tell(StepEvent(time.time(), host, title, "done", "", time.time() - begun))
        return result


Work = Callable[[Progress], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class _Running:
    """Work that is under way, and what it was asked with."""

    task: asyncio.Task[None]
    progress: Progress
    view: OperationView
    request: object


class Operations:
    """All operations of a root; at most one at a time for each subject."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self._store = store
        self._bell = bell
        self._running: dict[str, _Running] = {}  # until it is stored how they ended
        self._subjects: set[str] = set()  # of those being begun, and whose work goes on

    @property
    def running(self) -> int:
        """How many are under way; also one that has ended, until that is stored."""
        return len(self._running)

    async def fail_interrupted(self) -> None:
        """At the start: those that were under way ended with the process that ran them."""

        def work(db: Database) -> None:
            for view in operations.running(db):
                error = OakError("interrupted: the root was stopped", hint=again(view))
                operations.finish(db, view.id, time.time(), error)
                events.append(
                    db,
                    time.time(),
                    "operation.failed",
                    view.subject,
                    view.kind,
                    reason=error.message,
                )

        await self._store.run(work)

    def check_free(self, subject: str) -> None:
        """Raises Conflict while another operation on this subject is under way."""
        if subject in self._subjects:
            raise Conflict(
                f"work on {subject} is under way", hint="wait for it: oakctl event ls -f"
            )

    async def start(
        self,
        kind: str,
        subject: str,
        prepare: Callable[[Database], None],
        work: Work,
        request: object,
    ) -> OperationView:
        """Store what `prepare` does and that the work was begun, in one; then begin it.

        Asked once more with the same `request` while it is under way, it is that same work:
        whoever was interrupted follows it again.
        """
        while (running := self._running.get(subject)) and subject not in self._subjects:
            await asyncio.wait({running.task})  # it has ended: that is stored first
        if running is not None and (running.view.kind, running.request) == (kind, request):
            return running.view
        self.check_free(subject)
        self._subjects.add(subject)

        def begin(db: Database) -> OperationView:
            prepare(db)
            return operations.begin(db, kind, subject, time.time())

        try:
            view = await self._store.run(begin)
        except BaseException:
            self._subjects.discard(subject)
            raise
        pending: set[asyncio.Task[None]] = set()

        def note(step: StepEvent) -> None:
            task = asyncio.ensure_future(self._note(view.id, step))
            pending.add(task)
            task.add_done_callback(pending.discard)

        progress = Progress(note)
        task = asyncio.create_task(self._run(view, work, progress, pending))
        self._running[subject] = _Running(task, progress, view, request)
        return view

    async def close(self) -> None:
        """Interrupt what is under way: it is shown as failed, and can be run again."""
        tasks = []
        for subject, running in self._running.items():
            tasks.append(running.task)
            if subject in self._subjects:  # else it is about to be stored how it ended
                running.progress.cancelled.set()
                running.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)

    async def _run(
        self,
        view: OperationView,
        work: Work,
        progress: Progress,
        pending: set[asyncio.Task[None]],
    ) -> None:
        error: OakError | None = None
        try:
            await work(progress)
        except OakError as caught:
            error = caught
        except asyncio.CancelledError:
            error = OakError("interrupted: the root was stopped", hint=again(view))
        # The outermost boundary of an operation: whatever broke is what it failed with.
        except Exception as caught:
            log.exception("operation %d, %s %s, broke", view.id, view.kind, view.subject)
            error = OakError(
                f"{type(caught).__name__}: {caught}", hint="see the root's log, root.log"
            )
        finally:
            self._subjects.discard(view.subject)
        # Under way until that is stored: a root that left now would show it as interrupted.
        try:
            if pending:
                await asyncio.wait(pending)
            await self._store.run(lambda db: _finish(db, view, error))
        finally:
            self._running.pop(view.subject, None)
        self._bell.ring()

    async def _note(self, operation: int, step: StepEvent) -> None:
        await self._store.run(lambda db: operations.add_step(db, operation, step))
        self._bell.ring()


def again(view: OperationView) -> str:
    """The command that carries on."""
    return f"run `oakctl {view.kind}` for {view.subject} again: it carries on"


def _finish(db: Database, view: OperationView, error: OakError | None) -> None:
    now = time.time()
    operations.finish(db, view.id, now, error)
    outcome = "done" if error is None else "failed"
    reason = "" if error is None else error.message
    events.append(db, now, f"operation.{outcome}", view.subject, view.kind, reason=reason)
