"""The real program as a user runs it: one call, several at once, one that gets Ctrl-C.

Belongs here: calls and what is left of them. Does not belong here: what a test wants to know.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from oakctl.client.process import log_file
from tests.chain.fleet import processes_with

CHECKOUT = Path(__file__).parents[2]
DEADLINE_S = 120.0
STEP_S = 0.05


@dataclass(frozen=True)
class Ended:
    """A call that has ended; `text` is all that it said."""

    code: int
    text: str


class Call:
    """`oakctl` with `arguments`, running; no terminal."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oakctl", *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def interrupt(self) -> None:
        """Ctrl-C, unless it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def interrupt_after(self, seconds: float) -> Ended:
        """Ctrl-C when `seconds` have passed; what came of it."""
        try:
            text, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.interrupt()
            return self.ended()
        return self._checked(text)

    def ended(self) -> Ended:
        """Its end; fails when there is none, or a traceback."""
        try:
            text, _ = self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
            raise AssertionError(f"oakctl {self.arguments} did not end: {text}") from None
        return self._checked(text)

    def _checked(self, text: str) -> Ended:
        assert "Traceback" not in text, f"oakctl {self.arguments}: {text}"
        return Ended(self._process.returncode, text)


def oakctl(*arguments: str) -> Ended:
    """One call, to its end."""
    return Call(*arguments).ended()


def done(*arguments: str) -> str:
    """What a call said that has to succeed."""
    ended = oakctl(*arguments)
    assert ended.code == 0, f"oakctl {arguments}: {ended}"
    return ended.text


def refused(code: int, *arguments: str, words: tuple[str, ...]) -> str:
    """What a call said that has to fail with `code`, say every one of `words`, and give a hint."""
    ended = oakctl(*arguments)
    assert ended.code == code, f"oakctl {arguments}: {ended}"
    assert "error: " in ended.text
    assert "hint: " in ended.text
    for word in words:
        assert word in ended.text, f"oakctl {arguments} does not say {word!r}: {ended.text}"
    return ended.text


def end_root() -> None:
    """End the root of this test's state directory, whose log holds no traceback."""
    lock = log_file().with_name("root.lock")
    pid = lock.read_text().strip() if lock.exists() else ""
    if pid.isdigit() and Path(f"/proc/{pid}").exists():
        os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + DEADLINE_S
    while left := [
        number
        for number, environment in processes_with().items()
        if environment.get("XDG_STATE_HOME", "").startswith(os.environ["XDG_STATE_HOME"])
        and number != os.getpid()
    ]:
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(STEP_S)
    log = log_file().read_text(errors="replace") if log_file().exists() else ""
    assert "Traceback" not in log, log
