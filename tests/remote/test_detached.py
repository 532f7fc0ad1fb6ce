"""Jobs that outlive their connection: on SSH servers in this process, and on a real sshd."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.remote import detached
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.detached import Job, State
from oakctl.remote.step import Cancelled, CommandFailed
from tests.remote import real_sshd
from tests.remote.servers import Machine, Machines

# Begins with a word in `begun`, and ends when there is a file `go`.
WAITS = 'cd; echo begun >>begun; echo at work; until [ -e go ]; do sleep 0.05; done; echo "at end"'


@pytest.fixture
def machine(machines: Machines) -> Iterator[Machine]:
    made = machines.make()
    yield made
    (made.home / "go").touch()  # whatever failed, nothing waits for ever


@pytest.fixture
def remote(machine: Machine) -> Iterator[FabricRemote]:
    with open_fabric(machine.target(accept_new=True)) as opened:
        yield opened


def times_begun(machine: Machine) -> int:
    file = machine.home / "begun"
    return file.read_text().count("begun") if file.exists() else 0


def left_alone(machine: Machine, script: str) -> None:
    """A run that loses its connection while the job is at work."""
    remote = open_fabric(machine.target(accept_new=True))
    raised: list[BaseException] = []

    def run() -> None:
        try:
            detached.run(remote, "packages", script, timeout_s=60)
        except OakError as error:
            raised.append(error)

    running = threading.Thread(target=run)
    running.start()
    machine.until(lambda: times_begun(machine) > 0)
    remote.close()
    running.join(30)
    assert isinstance(raised[0], Cancelled)


def test_what_it_says_and_how_it_ends(remote: FabricRemote, machine: Machine) -> None:
    done = detached.run(remote, "packages", "echo one; echo two >&2; pwd", timeout_s=30)
    assert (done.exit_code, done.stdout) == (0, "one\ntwo\n/\n")
    with pytest.raises(CommandFailed, match="ended with 7") as failed:
        detached.run(remote, "packages", "echo no room; exit 7", timeout_s=30)
    assert failed.value.details == ("no room",)
    assert detached.run(remote, "packages", "exit 7", timeout_s=30, check=False).exit_code == 7
    assert list((machine.home / ".oakctl" / "run" / "jobs").iterdir()) == []


def test_a_later_run_goes_on_with_it(machine: Machine) -> None:
    left_alone(machine, WAITS)
    with open_fabric(machine.target()) as remote:
        assert detached.names(remote) == ["packages"]
        (machine.home / "go").touch()
        done = detached.run(remote, "packages", WAITS, timeout_s=60)
        assert done.stdout == "at work\nat end\n"
        assert detached.names(remote) == []
    assert times_begun(machine) == 1


def test_an_end_that_nobody_saw_is_seen_once(machine: Machine) -> None:
    script = WAITS + "; exit 3"
    left_alone(machine, script)
    (machine.home / "go").touch()
    with open_fabric(machine.target()) as remote:
        machine.until(lambda: detached.look(remote, "packages", 0).state is State.ENDED)
        with pytest.raises(CommandFailed, match="ended with 3"):
            detached.run(remote, "packages", script, timeout_s=60)
        assert times_begun(machine) == 1
        assert detached.run(remote, "packages", script, timeout_s=60, check=False).exit_code == 3
        assert times_begun(machine) == 2


@pytest.mark.parametrize("changed", [("ended", "-100000"), ("boot", "another")])
def test_an_end_of_another_day_is_none(machine: Machine, changed: tuple[str, str]) -> None:
    """It would be taken for the result of today: no package sources were read, and "done"."""
    left_alone(machine, WAITS)
    (machine.home / "go").touch()
    with open_fabric(machine.target()) as remote:
        machine.until(lambda: detached.look(remote, "packages", 0).state is State.ENDED)
        status = machine.home / ".oakctl/run/jobs/packages/status"
        lines = dict(line.split("=") for line in status.read_text().splitlines())
        lines[changed[0]] = changed[1]
        status.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        assert detached.run(remote, "packages", WAITS, timeout_s=60).exit_code == 0
        assert times_begun(machine) == 2


def test_another_script_waits_for_it(machine: Machine) -> None:
    left_alone(machine, WAITS)
    with open_fabric(machine.target()) as remote:
        other = "cd; cat begun; echo other"
        with pytest.raises(DeadlineExceeded, match="goes on there"):
            detached.run(remote, "packages", other, timeout_s=1)
        (machine.home / "go").touch()
        assert detached.run(remote, "packages", other, timeout_s=60).stdout == "begun\nother\n"


def test_one_that_was_killed_begins_anew(machine: Machine) -> None:
    left_alone(machine, WAITS)
    with open_fabric(machine.target()) as remote:
        status = (machine.home / ".oakctl/run/jobs/packages/status").read_text()
        pid = dict(line.split("=") for line in status.splitlines())["pid"]
        remote.run(f"kill -KILL -{pid}")
        machine.until(lambda: detached.look(remote, "packages", 0).state is State.LOST)
        (machine.home / "go").touch()
        assert detached.run(remote, "packages", WAITS, timeout_s=60).exit_code == 0
    assert times_begun(machine) == 2


def test_what_it_says_is_told(remote: FabricRemote, machine: Machine) -> None:
    told: list[str] = []

    def listener(message: str, done: int, total: int) -> None:
        told.append(message)
        (machine.home / "go").touch()

    remote.listen(listener)
    detached.run(remote, "packages", WAITS, timeout_s=60)
    assert told[0] == "at work"


@pytest.mark.slow
@pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")
def test_the_end_of_a_real_connection_is_not_its_end(tmp_path: Path) -> None:
    """The server's own process for the connection is killed, as by a link that went."""
    supervisor = "SetEnv OAKCTL_SUPERVISOR=plain:/nowhere"
    with real_sshd.server(
        tmp_path, sudoers="USER ALL=(ALL) NOPASSWD: ALL", options=supervisor
    ) as target:
        first = open_fabric(target)
        detached_from = "echo $PPID >/dev/null; " + WAITS
        raised: list[OakError] = []

        def run() -> None:
            try:
                detached.run(first, "packages", detached_from, timeout_s=60)
            except OakError as error:
                raised.append(error)

        with open_fabric(target) as second:
            running = threading.Thread(target=run)
            running.start()
            wait = "until grep -q begun ~/begun 2>/dev/null; do sleep 0.05; done"
            second.as_login(wait)
            # The processes of sshd above the first connection's commands, but not of ours.
            first_sshd = first.as_login("ps -o ppid= -p $PPID").stdout.strip()
            second.as_login(f"sudo -n kill -KILL {first_sshd}")
            running.join(60)
            assert "connection was lost" in raised[0].message
            assert detached.names(second) == ["packages"]
            second.as_login("touch ~/go")
            done = detached.run(second, "packages", detached_from, timeout_s=60)
            assert done.stdout == "at work\nat end\n"
            assert second.as_login("cat ~/begun").stdout == "begun\n"
        first.close()


@given(st.text())
def test_no_answer_breaks_the_reading(text: str) -> None:
    assert detached.parse(text).state in State


def test_a_status_is_read() -> None:
    head = "id=abc\npid=7\nstart=5\nboot=b\n"
    assert detached.parse("") == Job(State.NONE)
    assert detached.parse(f"{head}exit=4\nalive=no\n\nsaid\n") == Job(
        State.ENDED, "abc", 4, "said\n"
    )
    recent = detached.parse(f"{head}exit=4\nalive=no\nage={detached.NEWS_S}\n\n")
    assert recent.is_news
    assert not detached.parse(f"{head}exit=4\nalive=no\nage={detached.NEWS_S + 1}\n\n").is_news
    assert detached.parse(f"{head}alive=yes\n\na\n\n \n").last_line == "a"
    assert detached.parse(f"{head}alive=lost\n\n").state is State.LOST
