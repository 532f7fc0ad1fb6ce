"""A restart of a host that a run waits for: sent, the lost connection expected, and back again.

What proves the restart is the kernel's boot id, which is new after each. Does not belong here:
whether a restart is needed (the playbooks), or agreed to (`runner`).
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import Protocol

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.remote.step import Completed

BACK_WITHIN_S = 300.0  # a Pi with a slow card takes a minute, one that checks its card longer
TRY_EVERY_S = 1.0
ASK_S = 15.0

RESTART = "systemctl reboot"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Awaited:
    """A host that was told to restart, and what came of each look at it since. Pure."""

    host: str
    before: str  # the boot id that it had
    since: float  # seconds, by any clock that only grows
    within_s: float = BACK_WITHIN_S

    def answered(self, boot_id: str, now: float) -> bool:
        """Whether this answer is of the host after its restart; raises DeadlineExceeded."""
        if boot_id != self.before:
            return True
        self.silent("it still answers, and has not gone down", now)
        return False

    def silent(self, reason: str, now: float) -> None:
        """There was no answer, for this reason; raises DeadlineExceeded once that is too long."""
        if now - self.since < self.within_s:
            return
        raise DeadlineExceeded(
            f"{self.host}: it was not back {self.within_s:.0f} s after its restart: "
            f"{reason.removeprefix(self.host + ': ')}",
            hint="look at its screen or its power; then run the same command again: it carries on",
        )


class Restartable(Protocol):
    """What a host's connection gives to restart it."""

    @property
    def name(self) -> str:
        """The host's name, for messages."""

    def root(self, command: str, *, timeout_s: float) -> Completed:
        """See `Remote`."""

    def as_login(self, command: str, *, timeout_s: float) -> Completed:
        """See `Remote`."""

    def redial(self) -> None:
        """Give the connection up and open another; raises OakError."""

    def pause(self, seconds: float) -> None:
        """Wait; raises Cancelled as soon as the connection is given up for good."""

    def renew(self) -> None:
        """Ask for the facts again, and take again what a lost connection let go of."""


def carry_out(host: Restartable, within_s: float = BACK_WITHIN_S) -> None:
    """Restart the host and return when it answers under another boot id; blocks.

    Raises CommandFailed when it refuses to restart, DeadlineExceeded, Cancelled.
    """
    awaited = Awaited(host.name, boot_id(host), time.monotonic(), within_s)
    with contextlib.suppress(Unreachable, DeadlineExceeded):  # it may go down before it answers
        host.root(RESTART, timeout_s=ASK_S)
    while not _is_back(host, awaited):
        host.pause(TRY_EVERY_S)
    host.renew()


def _is_back(host: Restartable, awaited: Awaited) -> bool:
    try:
        host.redial()
        found = boot_id(host)
    # Refused, timed out, "the system is booting up": each is a host that is not there yet.
    except (Unreachable, DeadlineExceeded, Unanswered) as error:
        awaited.silent(error.message, time.monotonic())
        return False
    return awaited.answered(found, time.monotonic())


class Unanswered(OakError):
    """The host answered, and not with a boot id."""


def boot_id(host: Restartable) -> str:
    """Which boot of the host this is; raises OakError."""
    found = host.as_login(BOOT_ID, timeout_s=ASK_S).stdout.strip()
    if not re.fullmatch(r"[0-9a-f-]{36}", found):
        raise Unanswered(f"{host.name}: its answer has no boot id: {found[:80]!r}")
    return found
