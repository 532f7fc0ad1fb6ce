"""Runs the steps of a plan on one host: check, apply, check again, and a word on each.

Belongs here: order, reports, cancellation, and what a failure says. Does not
belong here: what a step does (`playbooks/`), or how a command reaches the host (`connection`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from oakctl.errors import OakError, error_for
from oakctl.model.views import StepEvent
from oakctl.remote import uploads
from oakctl.remote.connection import FabricRemote
from oakctl.remote.step import Cancelled, CommandFailed, Remote, Step

Report = Callable[[StepEvent], None]

BROKE = "the playbook broke"
CHECKS_AT_ONCE = 4
LOOK_EVERY_S = 0.5
SENT_EVERY_S = 1.0  # how often an upload is told of


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


def look(plan: Sequence[Step], remote: Remote) -> list[StepEvent]:
    """What `run` would do, found by the checks alone: each step `planned` (why) or `skipped`.

    Once something is missing, a later check may fail for just that reason: it is planned too.
    """
    # Side by side: a distant host would else take a round trip for each check.
    with ThreadPoolExecutor(CHECKS_AT_ONCE, f"look {remote.name}") as threads:
        checks = [threads.submit(step.check, remote) for step in plan]
    found: list[StepEvent] = []
    for step, check in zip(plan, checks, strict=True):
        missing = _answered(step, check, remote, any(each.state == "planned" for each in found))
        state, message = ("planned", missing) if missing else ("skipped", "holds already")
        found.append(StepEvent(time.time(), remote.name, step.title, state, message))
    return found


def _answered(step: Step, check: Future[str], remote: Remote, is_missing_before: bool) -> str:
    """What a check that has ended says; raises what it failed with, told as that step's."""
    error = check.exception()
    if error is None:
        return check.result()
    if isinstance(error, CommandFailed) and is_missing_before:
        return "follows from the steps before it"
    if isinstance(error, OakError):
        raise _at(remote, step, error) from error
    # A user's step may raise anything.
    raise _broken(remote, step, error) from error


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
        with _told_of_uploads(remote, tell):
            step.apply(remote)
        still = step.check(remote)
    except OakError as error:
        tell("failed", error.message, time.monotonic() - started)
        raise _at(remote, step, error) from error
    except Exception as error:  # a user's step may raise anything; it is told as that step's
        tell("failed", f"{BROKE}: {type(error).__name__}: {error}", time.monotonic() - started)
        raise _broken(remote, step, error) from error
    if still:
        tell("failed", still, time.monotonic() - started)
        raise OakError(f"{remote.name}: {step.title}: done, and still {still}")
    tell("done", seconds=time.monotonic() - started)


@contextmanager
def _told_of_uploads(remote: Remote, tell: Callable[[str, str], None]) -> Iterator[None]:
    """Tell how far a large upload is, now and then."""
    if not isinstance(remote, FabricRemote):
        yield
        return
    last = time.monotonic()

    def sending(done: int, total: int) -> None:
        nonlocal last
        if total >= uploads.LARGE and time.monotonic() - last >= SENT_EVERY_S:
            last = time.monotonic()
            tell("running", f"sent {done >> 20} of {total >> 20} MiB")

    before, remote.sending = remote.sending, sending
    try:
        yield
    finally:
        remote.sending = before


def _broken(remote: Remote, step: Step, error: BaseException) -> OakError:
    return OakError(
        f"{remote.name}: {step.title}: {BROKE}: {type(error).__name__}: {error}",
        hint="oakctl playbook ls shows which file it is",
    )


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
