"""What only a real terminal shows: signals, mouse reports, no terminal at all."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from tests.tui import fleet
from oakctl.tui.app import FleetApp
app = FleetApp(fleet.friendly().connect)
app.run()
sys.exit(app.return_code)
"""
LEFT_ALTERNATE_SCREEN, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?1003l"
DEADLINE_S = 60.0


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        os.close(theirs)
        self.output = b""

    def read_until(self, expected: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while expected not in self.output:
            assert time.monotonic() < deadline, f"{expected!r} did not come"
            self._read()

    def end(self) -> int:
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the program did not end"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def _read(self) -> bool:
        ready, _, _ = select.select([self.ours], [], [], 0.05)
        if not ready:
            return False
        try:
            piece = os.read(self.ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.output += piece
        return bool(piece)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    started = Terminal()
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()
    os.close(started.ours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.read_until(b"runs on w1")
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number
    tail = terminal.output[terminal.output.rindex(MOUSE_OFF) - 200 :]
    assert MOUSE_OFF in tail
    assert LEFT_ALTERNATE_SCREEN in tail


def test_old_mouse_reports_beyond_column_95_do_not_end_it(terminal: Terminal) -> None:
    terminal.read_until(b"runs on w1")
    os.write(terminal.ours, b"\x1b[MC\xe8*\x1b[MC\xf0*")
    # The first key may be taken for the rest of the report.
    os.write(terminal.ours, b"??")
    terminal.read_until(b"ask the root now")
    assert b"UnicodeDecodeError" not in terminal.output
    os.write(terminal.ours, b"qqq")
    assert terminal.end() == 0


@pytest.mark.parametrize("arguments", [["tui"], ["tui", "--read-only"], ["init"], []])
def test_without_a_terminal_it_does_not_start(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "oakctl", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert b"\x1b" not in ended.stderr
    told = (b"hint: oakctl status", b"hint: oakctl fleet init", b"Usage: oakctl")
    assert any(words in ended.stderr for words in told)
