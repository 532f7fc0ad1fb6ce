"""Running a plan on a real host: order, reports, and everything that can stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oakctl.errors import DeadlineExceeded, ExitCode, OakError, Unreachable
from oakctl.model.views import StepEvent
from oakctl.remote import runner
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.step import Cancelled, Remote, Step
from tests.remote.servers import Machine, Machines


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make()


@pytest.fixture
def remote(machine: Machine) -> Iterator[FabricRemote]:
    with open_fabric(machine.target(accept_new=True)) as opened:
        yield opened


def file_step(name: str, apply: Callable[[Remote], None] | None = None) -> Step:
    """A step that is done when the file `name` is there."""

    def check(remote: Remote) -> str:
        return "" if remote.read(f"{remote.facts.home}/{name}") is not None else "missing"

    def touch(remote: Remote) -> None:
        remote.run(f"touch ~/{name}")

    return Step(f"make {name}", check, apply or touch)


def command_step(command: str, deadline_s: float = 60.0) -> Step:
    def apply(remote: Remote) -> None:
        remote.run(command)

    return Step("a command", lambda remote: "not done", apply, deadline_s)


def run(plan: list[Step], remote: FabricRemote) -> list[StepEvent]:
    told: list[StepEvent] = []
    runner.run(plan, remote, told.append, threading.Event())
    return told


def failure(step: Step, remote: FabricRemote) -> tuple[OakError, list[StepEvent]]:
    told: list[StepEvent] = []
    with pytest.raises(OakError) as failed:
        runner.run([step, file_step("after")], remote, told.append, threading.Event())
    assert failed.value.message.startswith(f"pi: {step.title}: ")
    assert failed.value.hint
    assert told[-1].state == "failed"
    assert told[-1].step == step.title
    return failed.value, told


def states(told: list[StepEvent]) -> list[tuple[str, str]]:
    return [(event.step, event.state) for event in told]


def test_steps_in_order_and_what_holds_is_skipped(remote: FabricRemote) -> None:
    remote.run("touch ~/b")
    told = run([file_step("a"), file_step("b"), file_step("c")], remote)
    assert states(told) == [
        ("make a", "running"),
        ("make a", "done"),
        ("make b", "skipped"),
        ("make c", "running"),
        ("make c", "done"),
    ]
    assert {event.host for event in told} == {"pi"}
    again = run([file_step("a"), file_step("b"), file_step("c")], remote)
    assert {event.state for event in again} == {"skipped"}


def test_a_command_that_fails_says_which_how_and_its_last_lines(
    remote: FabricRemote, machine: Machine
) -> None:
    error, _ = failure(command_step("echo no room left >&2; exit 3"), remote)
    assert "`echo no room left >&2; exit 3` ended with 3" in error.message
    assert error.details == ("no room left",)
    assert not (machine.home / "after").exists()


def test_a_step_without_effect(remote: FabricRemote) -> None:
    error, _ = failure(file_step("a", lambda remote: None), remote)
    assert error.message == "pi: make a: it was done, and still: missing"


def test_an_error_keeps_its_kind_and_hint(remote: FabricRemote) -> None:
    def apply(remote: Remote) -> None:
        raise Unreachable("pi: no way", hint="walk there", details=("far",))

    error, told = failure(file_step("a", apply), remote)
    assert (type(error), error.message) == (Unreachable, "pi: make a: no way")
    assert (error.hint, error.details) == ("walk there", ("far",))
    assert told[-1].message == "no way"


def test_a_playbook_with_a_mistake(remote: FabricRemote) -> None:
    def apply(remote: Remote) -> None:
        raise KeyError("colour")

    error, _ = failure(file_step("a", apply), remote)
    assert "KeyError: 'colour'" in error.message


def test_a_step_that_takes_too_long_is_cut_off(remote: FabricRemote, machine: Machine) -> None:
    error, _ = failure(command_step("sleep 600", deadline_s=0.2), remote)
    assert isinstance(error, DeadlineExceeded)
    assert "0.2 s" in error.message


def test_cancelling_cuts_off_what_runs(remote: FabricRemote) -> None:
    cancelled, told = threading.Event(), []

    def report(event: StepEvent) -> None:
        told.append(event)
        cancelled.set()

    with pytest.raises(Cancelled, match="pi: a command") as stopped:
        runner.run([command_step("sleep 600")], remote, report, cancelled)
    assert stopped.value.exit_code == ExitCode.INTERRUPTED
    assert stopped.value.hint
    assert [event.state for event in told] == ["running", "failed"]


def test_cancelled_before_a_step_does_nothing_of_it(remote: FabricRemote, machine: Machine) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled, match="stopped before `make a`"):
        runner.run([file_step("a")], remote, pytest.fail, cancelled)
    assert not (machine.home / "a").exists()


def test_a_host_that_goes_away(remote: FabricRemote, machine: Machine, tmp_path: Path) -> None:
    marker = tmp_path / "begun"
    gone = threading.Thread(target=lambda: (machine.until(marker.exists), machine.stop()))
    gone.start()
    error, _ = failure(command_step(f"touch {marker}; sleep 600"), remote)
    gone.join()
    assert isinstance(error, Unreachable)
    assert "connection was lost" in error.message
