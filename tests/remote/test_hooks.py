"""The user's playbooks: hooks around what is ours, settings, and what is wrong with one."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.views import StepEvent
from oakctl.remote import bootstrap, hooks, outline, playbook, runner
from oakctl.remote.bootstrap import Look
from oakctl.remote.connection import open_fabric
from oakctl.remote.hooks import Hook
from oakctl.remote.step import Remote, Step
from oakctl.remote.target import Target
from tests.remote.servers import Machines

README = Path(__file__).parents[2] / "README.md"

HOOK = '''
"""A mark before the files go."""
from oakctl.remote.step import Step

BEFORE = "uninstall.files"

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


def step(name: str, of: str = "ours") -> Step:
    return Step(f"{of}: {name}", lambda remote: "missing", lambda _: None, name=name, playbook=of)


def titles(plan: list[Step]) -> list[str]:
    return [each.title for each in plan]


def test_our_plans_have_the_users_hooks() -> None:
    write("mine", HOOK)
    write("later", HOOK.replace("BEFORE", "AFTER").replace("mark", "later"))
    write("around", HOOK.replace("uninstall.files", "uninstall").replace("mark", "first"))
    write("plain", HOOK.replace("BEFORE = ", "# "))
    planned = titles(bootstrap.removal_plan("cluster"))
    at = planned.index("uninstall: files of the cluster")
    assert planned[at - 1 : at + 2] == ["mine: mark", planned[at], "mine: later"]
    assert planned[0] == "mine: first"
    assert planned.count("mine: first") == 1


names = st.sampled_from(["base", "bus", "worker"])
plans = st.lists(st.tuples(names, st.sampled_from("abc")), max_size=8).map(
    lambda pairs: [step(name, of) for of, name in sorted(pairs)]
)
targets = st.one_of(st.just(""), names, st.tuples(names, st.sampled_from("abc")).map(".".join))


@given(plans, st.lists(st.tuples(targets, targets), max_size=3))
def test_hooks_add_their_steps_and_move_none_of_ours(
    plan: list[Step], around: list[tuple[str, str]]
) -> None:
    made = [
        Hook(str(at), before, after, (step(f"hook {at}", "mine"),))
        for at, (before, after) in enumerate(around)
    ]
    woven = hooks.weave(plan, made)
    assert [each for each in woven if each.playbook != "mine"] == plan
    for at, (before, after) in enumerate(around):
        count = titles(woven).count(f"mine: hook {at}")
        wanted = 0
        for target in (before, after):
            of, _, name = target.partition(".")
            found = [each for each in plan if each.playbook == of and name in ("", each.name)]
            wanted += (len(found) if name else bool(found)) if target else 0
        assert count == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BEFORE = 'base'\n", "it has no function `steps`"),
        ("BEFORE = 'base'\ndef steps(needed): return []", "missing a required argument"),
        ("BEFORE = 'base' x", "line 1: SyntaxError"),
        ("BEFORE = 3\ndef steps(): return []", "line 1: BEFORE is not a text"),
        ("BEFORE = 'bsae'\ndef steps(): return []", "no playbook 'bsae'"),
        ("AFTER = 'base.recrod'\ndef steps(): return []", "no step 'recrod', but directories"),
        ("BEFORE = 'base'\ndef steps(): return []\n1 / 0", "line 3: ZeroDivisionError"),
        ("BEFORE = 'base'\nraise SystemExit(3)\ndef steps(): return []", "line 2: SystemExit"),
        ("BEFORE = 'base'\ndef steps(): return [3]", "not a Step"),
        ("BEFORE = 'base'\ndef steps():\n    return 1 / 0", "line 3: ZeroDivisionError"),
        ("BEFORE = '\0'", "null bytes"),
    ],
)
def test_a_broken_hook_is_said_before_anything_is_done(text: str, words: str) -> None:
    path = write("mine", text)
    with pytest.raises(UsageError, match=re.escape(words)) as refused:
        hooks.woven([step("record", "base")])
    assert path.stem in str(refused.value)


def test_a_playbook_is_looked_at_without_running_it(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write("mine", f"{HOOK}\nopen({str(mark)!r}, 'w')\n")
    found = outline.read(path, own=True)
    assert (found.summary, found.hook) == (
        "A mark before the files go.",
        "before uninstall.files",
    )
    assert found.takes == ("name=",)
    assert [(each.name, each.title) for each in found.steps] == [("", "mine: {name}")]
    assert not mark.exists()


def test_every_step_of_ours_has_a_name_that_stays() -> None:
    for found in playbook.outlines():
        assert not found.fault
        given_names = [each.name for each in found.steps]
        assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in given_names)
        assert len(set(given_names)) == len(given_names)
    # What runs is called as what is shown.
    shown = next(each for each in playbook.outlines() if each.name == "uninstall")
    run = bootstrap.removal_plan("worker")
    assert {f"{each.playbook}.{each.name}" for each in run} == {
        f"uninstall.{each.name}" for each in shown.steps
    }


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
    (found,) = bootstrap.survey(target, [Look(lambda _: bootstrap.playbook_plan("mine", {}))]).plans
    assert isinstance(found, tuple)
    return found


def test_looking_runs_checks_alone(machines: Machines) -> None:
    write("mine", HOOK)
    target = machines.make().target(accept_new=True)
    told: list[StepEvent] = []
    looked = look(target)
    assert [(s.step, s.state, s.message) for s in looked] == [("mine: mark", "planned", "missing")]
    bootstrap.run_playbook(target, "mine", {}, told.append, threading.Event())
    assert [event.state for event in told if event.step == "mine: mark"] == ["running", "done"]
    looked = look(target)
    assert [event.state for event in looked] == ["skipped"]


def test_the_example_of_the_readme_is_a_playbook(machines: Machines) -> None:
    """As it stands there: written down, hooked in, run on a host, and run again."""
    text = README.read_text()
    found = re.search(
        r"`~/\.config/oakctl/playbooks/(\w+)\.py`:\n\n```python\n(.*?)```", text, re.S
    )
    assert found is not None
    write(found[1], found[2])
    shown = next(each for each in playbook.outlines() if each.name == found[1])
    assert (shown.fault, shown.own, bool(shown.hook)) == ("", True, True)
    assert hooks.around(playbook.outlines())

    def run() -> list[str]:
        told: list[StepEvent] = []
        with open_fabric(machines.make().target(accept_new=True)) as remote:
            for _ in range(2):
                runner.run(playbook.steps(found[1], {}), remote, told.append, threading.Event())
        return [event.state for event in told]

    assert run() == ["running", "done", "skipped"]


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
            with pytest.raises(OakError, match="mine: ZeroDivisionError"):
                work([Step("mine", broken, broken)], remote)


def test_what_goes_wrong_in_a_step_is_told_with_file_and_line(machines: Machines) -> None:
    path = write("mine", HOOK.replace('return "missing" if', "return remote.rnu() if"))
    with (
        open_fabric(machines.make().target(accept_new=True)) as remote,
        pytest.raises(OakError, match="AttributeError") as failed,
    ):
        runner.run(playbook.steps("mine", {}), remote, print, threading.Event())
    assert f"{path}, line 9: AttributeError" in failed.value.message


def test_a_step_that_restarts_the_host_waits_for_consent(machines: Machines) -> None:
    done: list[Remote] = []
    restart = Step("a: restart", lambda _: "" if done else "needed", done.append, reboots=True)
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        told: list[StepEvent] = []
        looked = runner.look([restart], remote)
        assert [(each.state, each.reboots) for each in looked] == [("skipped", True)]
        assert runner.look([restart], remote, allow_reboot=True)[0].state == "planned"
        runner.run([restart], remote, told.append, threading.Event())
        assert (told[-1].state, "--allow-reboot" in told[-1].message, done) == ("skipped", True, [])
        runner.run([restart], remote, told.append, threading.Event(), allow_reboot=True)
        assert done == [remote]
