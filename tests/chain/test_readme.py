"""The README's steps by hand, typed as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from operator import not_
from pathlib import Path

import pytest

from tests.chain.fleet import processes_with
from tests.waiting import until_now

CHECKOUT = Path(__file__).parents[2]
DEADLINE_S = 120
FOLLOW_S = 30


def steps_by_hand() -> list[list[str]]:
    """The commands of the section "By hand", without comments."""
    text = (CHECKOUT / "README.md").read_text()
    section = text.split("## By hand")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line, comments=True) for line in block.group(1).splitlines()]
    return [command for command in commands if command and command[0] == "oakctl"]


def oakctl(*arguments: str) -> str:
    """Standard output of one call that has to succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "oakctl", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, f"oakctl {shlex.join(arguments)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def follow_and_interrupt(arguments: list[str]) -> None:
    """Follow until a line has come, then Ctrl-C."""
    following = subprocess.Popen(
        [sys.executable, "-m", "oakctl", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with following:
        assert following.stdout is not None
        assert following.stdout.readline().strip()
        following.send_signal(signal.SIGINT)
        assert following.wait(FOLLOW_S) == 130


@pytest.fixture
def lab_is_gone() -> object:
    """Whatever happens, no lab is left."""
    yield
    oakctl("lab", "down")
    root = Path(os.environ["XDG_STATE_HOME"]) / "oakctl/root.lock"
    if root.exists() and (owner := root.read_text().strip()).isdigit():
        os.kill(int(owner), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.usefixtures("lab_is_gone")
def test_steps_by_hand() -> None:
    for command in steps_by_hand():
        if "-f" in command and "logs" in command:
            follow_and_interrupt(command[1:])
        elif command[1:3] == ["app", "delete"]:
            lists_speak_json()
            oakctl(*command[1:])
        else:
            oakctl(*command[1:])
    state = os.environ["XDG_STATE_HOME"]

    def left() -> list[dict[str, str]]:
        ours = [e for e in processes_with().values() if e.get("HOME", "").startswith(state)]
        return [e for e in ours if e.get("OAKCTL_LAB", "")]

    until_now("the lab's processes to end", left, not_, wait_s=FOLLOW_S)


def lists_speak_json() -> None:
    """Every list, while there is something in it."""
    for noun in ("app", "service", "instance", "cluster", "worker", "host", "event", "lab"):
        assert json.loads(oakctl(noun, "ls", "-o", "json")), noun
