"""Runs the steps of a plan on one host: check, apply, check again, and a word on each.

Belongs here: order, reports, cancellation, and what a failure says. Does not
belong here: what a step does (`playbooks/`), or how a command reaches the host (`connection`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from oakctl.errors import OakError, error_for
from oakctl.model.views import StepEvent
from oakctl.remote import playbook, threads
from oakctl.remote.step import Cancelled, CommandFailed, Remote, Step

if TYPE_CHECKING:
    from oakctl.remote.connection import FabricRemote

Report = Callable[[StepEvent], None]

CHECKS_AT_ONCE = 4
LOOK_EVERY_S = 0.2
TELL_EVERY_S = 1.0
MIB = 1 << 20

ALLOW_REBOOT = "--allow-reboot"
HOLDS = "holds already"


def run(
    plan: Sequence[Step],
    remote: Remote,
    report: Report,
    cancelled: threading.Event,
    *,
    allow_reboot: bool = False,
) -> None:
    """Make every step of `plan` true of the host, in order; blocks.

    A step whose check holds is reported as skipped, so that running a plan again carries on
    where an earlier run ended. Raises the OakError of the first step that fails, with host and
    step in its message; Cancelled when `cancelled` is set between two steps. A step that restarts
    the host is left out, and said to be, without `allow_reboot`.
    """
    for step in plan:
        if cancelled.is_set():
            raise Cancelled(f"{remote.name}: stopped before `{step.title}`")
        _one(step, remote, report, allow_reboot)


def look(plan: Sequence[Step], remote: Remote, *, allow_reboot: bool = False) -> list[StepEvent]:
    """What `run` would do, found by the checks alone: each step `planned` (why) or `skipped`.

    Once something is missing, a later check may fail for just that reason: it is planned too.
    """
    # Side by side: a distant host would else take a round trip for each check.
    asked = [partial(_asked, step, remote) for step in plan]
    checks = threads.side_by_side(asked, CHECKS_AT_ONCE, f"look {remote.name}")
    wait(checks)
    found: list[StepEvent] = []
    for step, check in zip(plan, checks, strict=True):
        missing, holds = _answered(step, check, remote, any(e.state == "planned" for e in found))
        if missing and step.reboots and not allow_reboot:
            found.append(_event(remote, step, "skipped", _not_allowed(missing), reboots=True))
            continue
        state, message = ("planned", missing) if missing else ("skipped", holds)
        found.append(_event(remote, step, state, message, reboots=step.reboots and bool(missing)))
    return found


def _asked(step: Step, remote: Remote) -> tuple[str, str]:
    """What is missing, and when nothing is, what there is to say."""
    missing = step.check(remote)
    return missing, "" if missing else step.note(remote) or HOLDS


def _answered(
    step: Step, check: Future[tuple[str, str]], remote: Remote, is_missing_before: bool
) -> tuple[str, str]:
    """What a check that has ended says; raises what it failed with, told as that step's."""
    error = check.exception()
    if error is None:
        return check.result()
    if isinstance(error, CommandFailed) and is_missing_before:
        return "follows from the steps before it", ""
    if isinstance(error, OakError):
        raise _at(remote, step, error) from error
    # A user's step may raise anything.
    raise _broken(remote, step, error) from error


def _one(step: Step, remote: Remote, report: Report, allow_reboot: bool) -> None:
    def tell(state: str, message: str = "", seconds: float = 0.0) -> None:
        report(_event(remote, step, state, message, seconds))

    started = time.monotonic()
    try:
        missing = step.check(remote)
        if not missing:
            tell("skipped", step.note(remote) or HOLDS)
            return
        if step.reboots and not allow_reboot:
            tell("skipped", _not_allowed(missing))
            return
        tell("running", missing)
        done = _applied(step, remote, report)
        still = step.check(remote)
    except OakError as error:
        tell("failed", error.message, time.monotonic() - started)
        raise _at(remote, step, error) from error
    except Exception as error:  # a user's step may raise anything; it is told as that step's
        tell("failed", playbook.mistake(error), time.monotonic() - started)
        raise _broken(remote, step, error) from error
    if still:
        tell("failed", still, time.monotonic() - started)
        raise OakError(f"{remote.name}: {step.title}: done, and still {still}")
    tell("done", done, time.monotonic() - started)


def _event(
    remote: Remote,
    step: Step,
    state: str,
    message: str,
    seconds: float = 0.0,
    *,
    reboots: bool = False,
) -> StepEvent:
    return StepEvent(time.time(), remote.name, step.title, state, message, seconds, reboots=reboots)


def _not_allowed(missing: str) -> str:
    return f"{missing}: not without {ALLOW_REBOOT}"


def _broken(remote: Remote, step: Step, error: BaseException) -> OakError:
    return OakError(
        f"{remote.name}: {step.title}: {playbook.mistake(error)}",
        hint="oakctl playbook ls -o wide shows which file it is",
    )


def _applied(step: Step, remote: Remote, report: Report) -> str:
    """Carry the step out, and tell now and then how it goes on."""
    told = time.monotonic()

    def listener(message: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told < TELL_EVERY_S:
            return
        told = time.monotonic()
        if total:
            message = f"{message}: {done / MIB:.1f} of {total / MIB:.1f} MiB"
        report(
            StepEvent(
                time.time(), remote.name, step.title, "running", message,
                done_bytes=done, total_bytes=total,
            )
        )  # fmt: skip

    remote.listen(listener)
    try:
        return step.apply(remote) or ""
    finally:
        remote.listen(None)


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
    """Give the host up as soon as `cancelled` is set, with what runs there for us at that moment.

    Jobs (`detached`) go on: half an installation is worse than a late one.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):  # the common end is not waited for
            if cancelled.is_set():
                remote.stop()
                return

    watching = threading.Thread(target=watch, name=f"cancel {remote.name}", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
