"""The line of a granted root in authorized_keys: all of it or nothing, beside everybody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.remote import gate, playbook
from oakctl.remote.step import CommandFailed
from tests.remote.here import Here

KEY = f"ssh-ed25519 {'A' * 68}"
OTHERS = "ssh-ed25519 BBBB anna@laptop\n"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    made.facts.home = str(tmp_path)
    made.put(f"{tmp_path}/.ssh/authorized_keys", OTHERS.encode())
    return made


def keys(here: Here) -> str:
    return Path(f"{here.facts.home}/.ssh/authorized_keys").read_text()


def test_a_line_is_never_there_in_part(here: Here) -> None:
    here.arrives = 40  # of whatever comes on a command's input
    let_in = playbook.load("grant").let_in("edge", "rob", KEY)
    let_in.apply(here)
    assert keys(here) == f"{OTHERS}{gate.key_line(here.layout.prefix, KEY, 'edge', 'rob')}\n"
    assert let_in.check(here) == ""

    gone = playbook.load("grant").line_gone("edge", "rob")
    gone.apply(here)
    assert keys(here) == OTHERS
    assert gone.check(here) == ""


def test_keys_that_cannot_be_read_are_left_as_they_are(here: Here) -> None:
    here.put_program("grep", "echo cut off; exit 2")
    with pytest.raises(CommandFailed):
        playbook.load("grant").let_in("edge", "rob", KEY).apply(here)
    assert keys(here) == OTHERS
