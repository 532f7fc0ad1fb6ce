"""Runs the steps of a plan on one host: check, apply, check again, and a word on each.

Belongs here: order, reports, deadlines, the host's lock, and what a failure says. Does not
belong here: what a step does (`playbooks/`), or how a command reaches the host (`connection`).
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from oakctl.errors import Conflict, OakError, error_for
from oakctl.model.views import StepEvent
from oakctl.remote.step import Cancelled, Remote, Step

Report = Callable[[StepEvent], None]

LOCK_LEASE_S = 60  # seconds after which a lock whose owner says nothing is stale
RENEW_EVERY_S = 15.0


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
    if still:
        tell("failed", still, time.monotonic() - started)
        raise OakError(f"{remote.name}: {step.title}: done, and still {still}")
    tell("done", seconds=time.monotonic() - started)


def _at(remote: Remote, step: Step, error: OakError) -> OakError:
    message = f"{remote.name}: {step.title}: {error.message.removeprefix(remote.name + ': ')}"
    return error_for(int(error.exit_code), message, error.hint, error.details)


@contextmanager
def host_lock(remote: Remote) -> Iterator[None]:
    """Hold the host for one run; raises Conflict naming the holder when another has it.

    The lock is a directory, made atomically; its time is renewed while it is held, and one that
    was not renewed for LOCK_LEASE_S seconds belongs to a run that died.
    """
    token = f"{time.time_ns():x}"
    folder = shlex.quote(str(remote.layout.prefix))
    lock = shlex.quote(remote.layout.run("host.lock"))
    take = (
        f"mkdir -p -m 700 {folder} {folder}/run && "
        f"if [ -d {lock} ] && [ $(( $(date +%s) - $(stat -c %Y {lock}) )) -gt {LOCK_LEASE_S} ]; "
        f"then rm -rf {lock}; fi; "
        f"mkdir {lock} 2>/dev/null && echo {token} > {lock}/owner"
    )
    if remote.run(take, check=False).exit_code != 0:
        raise Conflict(
            f"{remote.name}: another run works on this host",
            hint=f"wait for it; a run that died lets go after {LOCK_LEASE_S} s",
        )
    ended = threading.Event()

    def renew() -> None:
        try:
            while not ended.wait(RENEW_EVERY_S):
                remote.run(f"touch {lock}", check=False)
        except OakError:
            return  # the connection is gone: the step that runs now says so

    renewing = threading.Thread(target=renew, name=f"lock {remote.name}", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        mine = f'[ "$(cat {lock}/owner 2>/dev/null)" = {token} ] && rm -rf {lock}'
        with suppress(OakError):  # the lease ends by itself where the host is gone
            remote.run(mine, check=False)
