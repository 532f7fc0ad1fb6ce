"""`oakctl playbook`, as it is typed: looking at playbooks, and running one of the user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl import paths

from .conftest import Oakctl

MARK = '''
"""Mark: a file that says that we were here."""
from oakctl.remote.step import Step

AFTER = "worker.agent"

def steps(text="here"):
    def check(remote):
        return "" if remote.read("mark") == text.encode() else "missing"

    return [Step("mark: a file", check, lambda remote: remote.put("mark", text.encode()))]
'''


def write(name: str, text: str) -> Path:
    folder = paths.config_directory() / "playbooks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return folder / f"{name}.py"


def test_what_is_there_and_what_hooks_where(oakctl: Oakctl) -> None:
    path = write("mark", MARK)
    listed = {each["name"]: each for each in json.loads(oakctl("playbook", "ls", "-o", "json").out)}
    assert {"base", "docker", "wireguard", "bus", "cluster", "worker", "raspberry_pi", "jetson",
            "uninstall"} < listed.keys()  # fmt: skip
    assert (listed["mark"]["own"], listed["mark"]["hook"]) == (True, "after worker.agent")
    assert listed["worker"]["hooked_by"] == ["mark after worker.agent"]
    shown = oakctl("playbook", "show", "mark").out
    assert all(text in shown for text in (str(path), "mark.a-file", "--set text="))
    assert "worker.agent " in oakctl("playbook", "show", "worker").out
    assert oakctl("playbook", "show", "mark", "--source").out == MARK
    steps = oakctl("playbook", "show", "base", "-o", "name").out.split()
    assert "base.archive" in steps


def test_a_broken_one_is_shown_with_its_line(oakctl: Oakctl) -> None:
    path = write("broken", '"""Mine."""\ndef steps(:\n')
    ended = oakctl("playbook", "ls", "-o", "wide")
    assert ended.code == 0
    assert f"{path}, line 2: SyntaxError" in ended.out
    assert oakctl("playbook", "show", "broken").code == 0
    assert oakctl("playbook", "show", "nothing").code == 3


@pytest.fixture
def lab(with_root: Oakctl) -> Iterator[Oakctl]:
    made = with_root("lab", "up", "--kind", "loopback", "--name", "pb", "--hosts", "2")
    try:
        assert made.code == 0, made.err
        yield with_root
    finally:
        with_root("lab", "down", "--name", "pb")


@pytest.mark.slow
def test_it_runs_on_several_hosts_and_says_what_came_of_each(lab: Oakctl) -> None:
    write("mark", MARK)
    hosts = [each["name"] for each in json.loads(lab("host", "ls", "-o", "json").out)]
    checked = lab("playbook", "run", "mark", *hosts, "--check", "-o", "json")
    assert checked.code == 0, checked.err
    assert [each["steps"][0]["state"] for each in json.loads(checked.out)] == ["planned"] * 2

    asked = lab("playbook", "run", "mark", *hosts)
    assert (asked.code, "--yes" in asked.err) == (2, True)

    ended = lab("playbook", "run", "mark", *hosts, "--set", "text=now", "--yes", "-o", "json")
    assert ended.code == 0, ended.err
    outcomes = {each["host"]: each for each in json.loads(ended.out)}
    assert [outcomes[host]["changed"] for host in hosts] == [True, True]
    again = lab("playbook", "run", "mark", *hosts, "--set", "text=now", "--yes")
    assert again.err == "no changes\n"

    missing = lab("playbook", "run", "mark", hosts[0], "nowhere", "--set", "text=x", "--yes")
    assert missing.code == 3
    assert "failed on 1 of 2 hosts" in missing.err
    assert (
        lab("playbook", "run", "mark", hosts[0], "--set", "text=x", "--yes").err == "no changes\n"
    )

    path = write("mark", MARK.replace("remote.put(", "remote.putt("))
    broken = lab("playbook", "run", "mark", hosts[0], "--yes")
    assert broken.code == 1
    assert f"{path}, line 11: AttributeError" in broken.err
