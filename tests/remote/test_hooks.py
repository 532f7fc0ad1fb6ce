"""The user's playbooks: hooks around steps of ours, settings, and what is wrong with one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.views import StepEvent
from oakctl.remote import bootstrap, hooks, playbook, runner
from oakctl.remote.connection import open_fabric
from oakctl.remote.step import Remote, Step
from oakctl.remote.target import Target
from tests.remote.servers import Machines

HOOK = '''
"""A mark before the agent."""
from oakctl.remote.step import Step

before = "make b"

def steps(name="mark"):
    def check(remote):
        return "missing" if remote.run(f"test -e {name}", check=False).exit_code else ""

    return [Step(f"mine: {name}", check, lambda remote: remote.run(f"touch {name}") and None)]
'''


def write(name: str, text: str) -> Path:
    folder = playbook.own_directory()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return folder / f"{name}.py"


def step(title: str) -> Step:
    return Step(title, lambda remote: "missing", lambda remote: None)


def titles(plan: list[Step]) -> list[str]:
    return [each.title for each in plan]


def test_hooks_go_around_the_steps_they_name() -> None:
    write("mine", HOOK)
    write("later", HOOK.replace('before = "make b"', 'after = "make b"').replace("mark", "later"))
    write("plain", HOOK.replace('before = "make b"', ""))
    plan = hooks.woven([step("make a"), step("make b"), step("make c")])
    assert titles(plan) == ["make a", "mine: mark", "make b", "mine: later", "make c"]


def test_our_plans_have_the_users_hooks() -> None:
    write("mine", HOOK.replace("make b", "uninstall: files of the worker"))
    assert "mine: mark" in titles(bootstrap.removal_plan("worker"))
    assert "mine: mark" not in titles(bootstrap.removal_plan("cluster"))


@pytest.mark.parametrize(
    "text",
    ["before = 'make b'\n", "before = 'make b'\ndef steps(needed): return []", "before = 'x' x",
     "before = 'make b'\n1 / 0", "before = 'make b'\ndef steps(): return [3]",
     "before = 'make b'\ndef steps(): 1 / 0"],
)  # fmt: skip
def test_a_broken_hook_is_said_before_anything_is_done(text: str) -> None:
    path = write("mine", text)
    with pytest.raises(UsageError) as refused:
        hooks.woven([step("make b")])
    assert path.stem in str(refused.value)


def test_settings_are_what_the_playbook_takes() -> None:
    write("mine", HOOK)
    assert titles(playbook.steps("mine", {"name": "other"})) == ["mine: other"]
    with pytest.raises(UsageError, match="unexpected keyword") as refused:
        playbook.steps("mine", {"nme": "other"})
    assert "--set name=…" in refused.value.hint
    with pytest.raises(UsageError) as inputs:
        playbook.steps("worker", {})
    assert "oakctl worker add" in inputs.value.hint
    assert titles(playbook.steps("uninstall", {"role": "cluster"}))
    for name in ("nothing", "../playbooks/base"):
        with pytest.raises(NotFound):
            playbook.steps(name, {})


def look(target: Target) -> tuple[StepEvent, ...]:
    (found,) = bootstrap.survey(target, [lambda: bootstrap.playbook_plan("mine", {})]).plans
    assert isinstance(found, tuple)
    return found


def test_looking_runs_checks_alone(machines: Machines) -> None:
    write("mine", HOOK)
    target = machines.make().target(accept_new=True)
    told: list[StepEvent] = []
    looked = look(target)
    assert [(s.step, s.state, s.message) for s in looked] == [("mine: mark", "planned", "missing")]
    bootstrap.run_playbook(target, "mine", {}, told.append, threading.Event())
    assert [event.state for event in told] == ["skipped", "running", "done"]
    looked = look(target)
    assert [event.state for event in looked] == ["skipped"]


def test_a_later_check_may_need_an_earlier_step(machines: Machines) -> None:
    def needs_it(remote: Remote) -> str:
        return remote.run("cat a").stdout

    def broken(remote: Remote) -> str:
        raise ZeroDivisionError("by zero")

    with open_fabric(machines.make().target(accept_new=True)) as remote:
        found = runner.look([step("make a"), Step("use a", needs_it, needs_it)], remote)
        assert [event.message for event in found] == ["missing", "follows from the steps before it"]
        with pytest.raises(OakError, match="use a: `cat a` ended with 1"):
            runner.look([Step("use a", needs_it, needs_it)], remote)
        for work in (runner.look, lambda p, r: runner.run(p, r, print, threading.Event())):
            with pytest.raises(OakError, match="mine: the playbook broke: ZeroDivisionError"):
                work([Step("mine", broken, broken)], remote)
