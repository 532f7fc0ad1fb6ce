"""Running steps on a real SSH server: order, resumption, failures in words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.errors import ExitCode, OakError, Unreachable
from oakctl.model.views import StepEvent
from oakctl.remote import runner
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.step import Cancelled, Remote, Step
from tests.remote.servers import Machines


@pytest.fixture
def remote(machines: Machines) -> Iterator[FabricRemote]:
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)) as opened:
        yield opened


def file_step(name: str, *, command: str = "touch") -> Step:
    """True when the file is there."""

    def check(remote: Remote) -> str:
        found = remote.run(f"test -e {name}", check=False)
        return "" if found.exit_code == 0 else "missing"

    return Step(f"make {name}", check, lambda remote: remote.run(f"{command} {name}") and None)


def run(remote: Remote, *steps: Step, cancelled: threading.Event | None = None) -> list[StepEvent]:
    told: list[StepEvent] = []
    try:
        runner.run(steps, remote, told.append, cancelled or threading.Event())
    finally:
        remote.told = told  # type: ignore[attr-defined]
    return told


def test_a_second_run_skips_what_holds(remote: FabricRemote) -> None:
    steps = [file_step("a"), file_step("b")]
    first = [(event.step, event.state) for event in run(remote, *steps)]
    assert first == [
        ("make a", "running"),
        ("make a", "done"),
        ("make b", "running"),
        ("make b", "done"),
    ]
    assert {event.state for event in run(remote, *steps)} == {"skipped"}


def test_a_failure_names_host_step_command_and_last_lines(remote: FabricRemote) -> None:
    broken = file_step("b", command="echo no room >&2; false")
    with pytest.raises(OakError) as failed:
        run(remote, file_step("a"), broken, file_step("c"))
    assert failed.value.message.startswith(f"{remote.name}: make b: ")
    assert "ended with 1" in failed.value.message
    assert failed.value.details == ("no room",)
    assert remote.run("ls", check=False).stdout.split() == ["a"]


def test_a_step_that_changes_nothing_is_a_failure(remote: FabricRemote) -> None:
    with pytest.raises(OakError, match="done, and still missing"):
        run(remote, file_step("a", command="true"))


def test_a_playbook_with_a_mistake_is_told_like_any_failure(remote: FabricRemote) -> None:
    def mistaken(remote: Remote) -> None:
        raise KeyError("colour")

    step = Step("paint", lambda remote: "not yet", mistaken)
    with pytest.raises(OakError, match=r"paint: .*KeyError: 'colour'") as broken:
        run(remote, step)
    assert broken.value.hint
    assert remote.told[-1].state == "failed"  # type: ignore[attr-defined]


def test_a_host_that_goes_away_is_said(machines: Machines, tmp_path: Path) -> None:
    machine, begun = machines.make(), tmp_path / "begun"
    slow = Step(
        "sleep",
        lambda remote: "not yet",
        lambda remote: remote.run(f"touch {begun}; sleep 100", timeout_s=100) and None,
    )

    def go_away() -> None:
        machine.until(begun.exists)
        machine.stop()

    going = threading.Thread(target=go_away)
    with open_fabric(machine.target(accept_new=True)) as remote:
        going.start()
        with pytest.raises(Unreachable, match="pi: sleep: the connection was lost"):
            run(remote, slow)
    going.join()


def test_stopped_between_steps_and_carried_on(remote: FabricRemote) -> None:
    cancelled = threading.Event()

    def stop(remote: Remote) -> None:
        remote.run("touch a")
        cancelled.set()

    first = Step("make a", file_step("a").check, stop)
    with pytest.raises(Cancelled, match="stopped before `make b`") as stopped:
        run(remote, first, file_step("b"), cancelled=cancelled)
    assert stopped.value.exit_code is ExitCode.INTERRUPTED
    states = [event.state for event in run(remote, first, file_step("b"))]
    assert states == ["skipped", "running", "done"]


def test_stopped_inside_a_long_command(remote: FabricRemote) -> None:
    cancelled = threading.Event()
    slow = Step(
        "sleep",
        lambda remote: "not yet",
        lambda remote: cancelled.set() or (remote.run("sleep 100", timeout_s=100) and None),
    )
    with runner.ended_by(cancelled, remote), pytest.raises(Cancelled, match="stopped in `sleep`"):
        run(remote, slow, cancelled=cancelled)


def test_an_upload_tells_its_bytes(
    remote: FabricRemote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "TELL_EVERY_S", 0.0)
    content = b"x" * (3 << 20)

    def check(remote: Remote) -> str:
        size = remote.run("wc -c <a/big || true", check=False).stdout.strip()
        return "" if size == str(len(content)) else "missing"

    def apply(remote: Remote) -> None:
        remote.put(f"{remote.facts.home}/a/big", content)

    events = run(remote, Step("upload", check, apply))
    told = [event for event in events if event.total_bytes]
    assert {event.state for event in told} == {"running"}
    assert [event.done_bytes for event in told] == sorted({event.done_bytes for event in told})
    assert told[-1].done_bytes == told[-1].total_bytes == len(content)
    assert told[-1].message == "big: 3.0 of 3.0 MiB"

    remote.put(f"{remote.facts.home}/b", content)
    assert run(remote, Step("another", lambda _: "", apply))[0].state == "skipped"
    assert not [event for event in events if event.step != "upload"], "nobody listens any more"
