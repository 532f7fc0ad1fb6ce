"""Runs the steps of a plan on one host: check, apply, check again, and a word on each.

Belongs here: order, reports, deadlines, cancellation, and what a failure says. Does not belong
here: what a step does (`playbooks/`), how a command reaches the host (`connection`), or that
one run at a time works on a host (`lock`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oakctl.errors import DeadlineExceeded, OakError, error_for
from oakctl.model.views import StepEvent
from oakctl.remote.lock import Closable
from oakctl.remote.step import Cancelled, Step

Report = Callable[[StepEvent], None]

LOOK_EVERY_S = 0.1
AGAIN = "run it again: it carries on where it ended"


def run(plan: Sequence[Step], remote: Closable, report: Report, cancelled: threading.Event) -> None:
    """Make every step of `plan` true of the host, in order; blocks.

    A step whose check holds is reported as skipped, so that running a plan again carries on
    where an earlier run ended. `cancelled`, and a step that outlives its deadline, give up the
    connection at once, whatever runs on it. Raises the OakError of the first step that fails,
    with host, step and what to do next; Cancelled; DeadlineExceeded.
    """
    for step in plan:
        if cancelled.is_set():
            raise Cancelled(f"{remote.name}: stopped before `{step.title}`", hint=AGAIN)
        _Attempt(step, remote, report, cancelled).make()


class _Attempt:
    """One step on one host, once."""

    def __init__(
        self, step: Step, remote: Closable, report: Report, cancelled: threading.Event
    ) -> None:
        self._step = step
        self._remote = remote
        self._report = report
        self._cancelled = cancelled
        self._late = threading.Event()
        self._started = time.monotonic()

    def make(self) -> None:
        """Check, apply, check; raises what failed, in the user's words."""
        try:
            with self._guarded():
                self._carry_out()
        except OakError as error:
            told = self._in_words(error)
            self._tell("failed", told.message.removeprefix(f"{self._where}: "))
            raise told from error
        # A playbook may be the user's own: its mistakes are told like any other failure.
        except Exception as error:
            self._tell("failed", f"{type(error).__name__}: {error}")
            raise OakError(
                f"{self._where}: the playbook broke: {type(error).__name__}: {error}",
                hint="oakctl playbook ls shows which file it is",
            ) from error

    def _carry_out(self) -> None:
        missing = self._step.check(self._remote)
        if not missing:
            self._tell("skipped", "holds already")
            return
        self._tell("running", missing)
        self._step.apply(self._remote)
        still = self._step.check(self._remote)
        if still:
            raise OakError(f"it was done, and still: {still}")
        self._tell("done")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Give the connection up when the operator stops the run or the step takes too long."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(LOOK_EVERY_S):
                if time.monotonic() - self._started > self._step.deadline_s:
                    self._late.set()
                if self._late.is_set() or self._cancelled.is_set():
                    self._remote.close()
                    return

        thread = threading.Thread(target=watch, name=f"watch {self._remote.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def _where(self) -> str:
        return f"{self._remote.name}: {self._step.title}"

    def _in_words(self, error: OakError) -> OakError:
        """The same failure, with host, step and next command."""
        if self._late.is_set():
            return DeadlineExceeded(
                f"{self._where}: did not end within {self._step.deadline_s:g} s", hint=AGAIN
            )
        if self._cancelled.is_set() and isinstance(error, Cancelled):
            return Cancelled(f"{self._where}: stopped", hint=AGAIN)
        what = error.message.removeprefix(f"{self._remote.name}: ")
        if isinstance(error, Cancelled):
            return Cancelled(f"{self._where}: {what}", hint=AGAIN)
        hint = error.hint or AGAIN
        return error_for(int(error.exit_code), f"{self._where}: {what}", hint, error.details)

    def _tell(self, state: str, message: str = "") -> None:
        seconds = 0.0 if state in ("running", "skipped") else time.monotonic() - self._started
        self._report(
            StepEvent(time.time(), self._remote.name, self._step.title, state, message, seconds)
        )
