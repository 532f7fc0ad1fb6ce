"""One run at a time on a host: two bootstraps of it must not mix.

The lock is a directory on the host, made in one step, with its owner's name in it. Its time is
renewed while it is held; one that was not renewed for LEASE_S seconds belongs to a run that
died. Does not belong here: what is done under it (`runner`).
"""

from __future__ import annotations

import os
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oakctl.errors import Conflict, OakError
from oakctl.remote.step import Cancelled, Remote

LEASE_S = 30
RENEW_EVERY_S = 8.0
WAIT_S = LEASE_S + 5.0  # longer than a dead run's lease: what is still held then is alive
ASK_EVERY_S = 0.5

# The host's own clock judges the age: the operator's may be wrong by days.
TAKE = r"""
umask 077; mkdir -p -- "$prefix" || exit 1
if mkdir -- "$lock" 2>/dev/null; then printf %s "$me" >"$lock/owner"; echo mine; exit; fi
now=$(date +%s)
echo "$((now - $(stat -c %Y "$lock" 2>/dev/null || echo "$now"))) $(cat "$lock/owner" 2>/dev/null)"
"""
# Two may find the same lock stale. One of them moves it; should the other move the new one,
# it sees whose that is and puts it back.
DISCARD = r"""
mv -T -- "$lock" "$lock.$me" 2>/dev/null || exit 0
if [ "$(cat "$lock.$me/owner" 2>/dev/null)" = "$owner" ]; then rm -rf -- "$lock.$me"
else mv -T -- "$lock.$me" "$lock"; fi
"""
RENEW = '[ "$(cat "$lock/owner" 2>/dev/null)" = "$me" ] && touch -- "$lock"'
RELEASE = r"""
[ "$(cat "$lock/owner" 2>/dev/null)" = "$me" ] && rm -rf -- "$lock"
rmdir -- "$prefix" 2>/dev/null || true
"""


class Closable(Remote, Protocol):
    """A host whose connection another thread may give up."""

    def close(self) -> None:
        """What runs on it is cut off and raises Cancelled."""


@dataclass(frozen=True)
class Owner:
    """A run that holds a lock: which machine and process it belongs to, and which of its runs."""

    machine: str  # empty: not known
    process: str
    run: str

    @classmethod
    def here(cls) -> Owner:
        """A new run of this process."""
        return cls(_machine(), f"{os.getpid()}-{_started(os.getpid())}", secrets.token_hex(8))

    @classmethod
    def parse(cls, text: str) -> Owner:
        """From what `str` gave; anything else is an owner of whom nothing is known."""
        parts = text.split("/")
        return cls(*parts) if len(parts) == 3 else cls("", "", text)

    def __str__(self) -> str:
        return f"{self.machine}/{self.process}/{self.run}"


def has_ended(
    owner: Owner, age_s: float, me: Owner, runs_here: Set[str], is_alive: Callable[[str], bool]
) -> bool:
    """Whether the run that holds a lock of this age is over; pure.

    What was begun on this machine is known to have ended without waiting for its lease.
    """
    if age_s > LEASE_S:
        return True
    if not owner.machine or owner.machine != me.machine:
        return False
    if owner.process == me.process:
        return owner.run not in runs_here
    return not is_alive(owner.process)


_runs_here: set[str] = set()  # of this process, under way


@contextmanager
def host_lock(
    remote: Closable, cancelled: threading.Event, waiting: Callable[[str], None]
) -> Iterator[None]:
    """Hold the host for one run; `waiting` is told once when another run has it.

    Raises Conflict when that other run is alive and does not end within WAIT_S seconds, or when
    this one was taken for dead and lost its lock (its connection is then closed); Cancelled.
    """
    me = Owner.here()
    _runs_here.add(me.run)
    lost = threading.Event()
    try:
        _acquire(remote, me, cancelled, waiting)
        with _renewing(remote, me, lost):
            yield
    except Cancelled as error:
        if not lost.is_set():
            raise
        raise Conflict(
            f"{remote.name}: another run has taken this host over",
            hint="wait for it to end, then run this again: it carries on",
        ) from error
    finally:
        _runs_here.discard(me.run)
        with suppress(OakError):  # the lease ends by itself where the host is gone
            remote.run(_script(remote, RELEASE, me), check=False)


def _acquire(
    remote: Remote, me: Owner, cancelled: threading.Event, waiting: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + WAIT_S
    told = False
    while True:
        answer = remote.run(_script(remote, TAKE, me)).stdout.strip()
        if answer == "mine":
            return
        age, _, holder = answer.partition(" ")
        seconds = float(age) if age.lstrip("-").isdecimal() else 0.0
        if has_ended(Owner.parse(holder), seconds, me, _runs_here, _is_alive):
            remote.run(_script(remote, DISCARD, me, owner=holder))
            continue
        if not told:
            waiting("another run works on this host")
            told = True
        if time.monotonic() > deadline:
            raise Conflict(
                f"{remote.name}: another run works on this host",
                hint="wait for it to end, then run this again",
            )
        if cancelled.wait(ASK_EVERY_S):
            raise Cancelled(f"{remote.name}: stopped while another run worked on this host")


@contextmanager
def _renewing(remote: Closable, me: Owner, lost: threading.Event) -> Iterator[None]:
    ended = threading.Event()

    def renew() -> None:
        try:
            while not ended.wait(RENEW_EVERY_S):
                if remote.run(_script(remote, RENEW, me), check=False).exit_code != 0:
                    lost.set()
                    remote.close()
                    return
        except OakError:
            return  # the connection is gone: the step that runs now says so

    thread = threading.Thread(target=renew, name=f"lock of {remote.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _script(remote: Remote, body: str, me: Owner, owner: str = "") -> str:
    prefix = str(remote.layout.prefix)
    # A name of one word for what is moved aside; the owner's has slashes.
    names = {"prefix": prefix, "lock": f"{prefix}/.lock", "me": str(me), "owner": owner}
    if body is DISCARD:
        names["me"] = me.run
    given = [f"{name}={shlex.quote(value)}" for name, value in names.items()]
    return "\n".join([*given, body])


def _machine() -> str:
    """This machine since its start, as its processes see each other; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in clock ticks; empty when there is none of this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _is_alive(process: str) -> bool:
    pid, _, started = process.partition("-")
    return pid.isdecimal() and _started(int(pid)) == started
