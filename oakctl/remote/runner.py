"""Runs the steps of a plan on one host: check, apply, check again, and a word on each.

Belongs here: order, reports, cancellation, and what a failure says. Does not
belong here: what a step does (`playbooks/`), or how a command reaches the host (`connection`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oakctl.errors import OakError, error_for
from oakctl.model.views import StepEvent
from oakctl.remote.connection import FabricRemote
from oakctl.remote.step import Cancelled, Remote, Step

Report = Callable[[StepEvent], None]

LOOK_EVERY_S = 0.5


def run(plan: Sequence[Step], remote: Remote, report: Report, cancelled: threading.Event) -> None:
    """Make every step of `plan` true of the host, in order; blocks.

    A step whose check holds is reported as skipped, so that running a plan again carries on
    where an earlier run ended. Raises the OakError of the first step that fails, with host and
    step in its message; Cancelled when `cancelled` is set between two steps.
    """
    for step in plan:
        if cancelled.is_set():
            raise Cancelled(f"{remote.name}: stopped before `{step.title}`")
        _one(step, remote, report)


def _one(step: Step, remote: Remote, report: Report) -> None:
    def tell(state: str, message: str = "", seconds: float = 0.0) -> None:
        report(StepEvent(time.time(), remote.name, step.title, state, message, seconds))

    started = time.monotonic()
    try:
        missing = step.check(remote)
        if not missing:
            tell("skipped", "holds already")
            return
        tell("running", missing)
        step.apply(remote)
        still = step.check(remote)
    except OakError as error:
        tell("failed", error.message, time.monotonic() - started)
        raise _at(remote, step, error) from error
    # A playbook may be the user's own: its mistakes are told like any other failure.
    except Exception as error:
        mistake = f"the playbook broke: {type(error).__name__}: {error}"
        tell("failed", mistake, time.monotonic() - started)
        raise OakError(
            f"{remote.name}: {step.title}: {mistake}",
            hint="oakctl playbook ls shows which file it is",
        ) from error
    if still:
        tell("failed", still, time.monotonic() - started)
        raise OakError(f"{remote.name}: {step.title}: done, and still {still}")
    tell("done", seconds=time.monotonic() - started)


def _at(remote: Remote, step: Step, error: OakError) -> OakError:
    if isinstance(error, Cancelled):
        return Cancelled(f"{remote.name}: stopped in `{step.title}`", hint=error.hint)
    message = f"{remote.name}: {step.title}: {error.message.removeprefix(remote.name + ': ')}"
    hint = error.hint or (
        f"look at the host (oakctl host ssh {remote.name}), then run the same command again: "
        "it carries on"
    )
    return error_for(int(error.exit_code), message, hint, error.details)


@contextmanager
def ended_by(cancelled: threading.Event, remote: FabricRemote) -> Iterator[None]:
    """Close the connection as soon as `cancelled` is set, so that a long command ends with it."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if cancelled.wait(LOOK_EVERY_S):
                remote.close()
                return

    watching = threading.Thread(target=watch, name=f"cancel {remote.name}", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
