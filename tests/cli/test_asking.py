"""Ctrl-C at a question ends the program at once, and the terminal is as it was."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from oakctl.cli.asking import asked

from .conftest import DEADLINE_S, ROOT

SCRIPT = """
import sys
from oakctl import __main__
from oakctl.cli import asking, diagnostics, session
def run(arguments):
    session.run(asking.asked(*eval(arguments[0])))
    return 0
__main__._run = run
sys.exit(__main__.main([sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ('(diagnostics.ask, "Really?")', b"[y/N]"),
        ('(diagnostics.ask_name, "Its name: ", "pi")', b"name: "),
        ('(diagnostics.ask_password, "pi")', b"sudo on pi: "),
    ],
)
def test_ctrl_c_at_a_question(question: str, shown: bytes) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, question],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        # The terminal is its controlling one, so that a typed Ctrl-C reaches it.
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    try:
        seen = b""
        while shown not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, b"\x03")
        assert process.wait(DEADLINE_S) == 130
        assert termios.tcgetattr(theirs) == before
        os.set_blocking(ours, False)
        assert b"Error" not in os.read(ours, 4096)  # nothing breaks while it ends
    finally:
        process.kill()
        process.wait()
        os.close(theirs)
        os.close(ours)


async def test_an_answer_and_what_it_raises() -> None:
    assert await asked(lambda text, *, end: text + end, "a", end="b") == "ab"
    with pytest.raises(ZeroDivisionError):
        await asked(lambda: 1 // 0)
