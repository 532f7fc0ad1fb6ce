"""Steps: timed, told to the observer, remembered for the report.

Belongs here: the bookkeeping. Does not belong here: what a step does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from oakctl.demo.observer import DemoObserver
from oakctl.demo.report import StepResult
from oakctl.errors import OakError


class Step:
    """A step under way; `message` is what will be said of it when it is done."""

    def __init__(self, name: str, observer: DemoObserver) -> None:
        self.name = name
        self.message = ""
        self._observer = observer
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def progress(self, message: str) -> None:
        """Say what it is at."""
        self._observer.step(self.name, "running", self.seconds(), message)


class Steps:
    """All steps so far, in the order in which they ended."""

    def __init__(self, observer: DemoObserver) -> None:
        self._observer = observer
        self.results: list[StepResult] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Run the block as a step; whatever it raises is remembered and raised on."""
        step = Step(name, self._observer)
        step.progress("")
        try:
            yield step
        except OakError as error:
            self._end(step, ok=False, message=error.message, hint=error.hint)
            raise
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._end(step, ok=False, message="interrupted", hint="")
            raise
        except Exception as error:
            self._end(step, ok=False, message=f"{type(error).__name__}: {error}", hint="")
            raise
        self._end(step, ok=True, message=step.message, hint="")

    def _end(self, step: Step, *, ok: bool, message: str, hint: str) -> None:
        seconds = step.seconds()
        self.results.append(StepResult(step.name, ok, seconds, message, hint))
        self._observer.step(step.name, "done" if ok else "failed", seconds, message)
