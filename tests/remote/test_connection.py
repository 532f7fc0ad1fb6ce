"""Hosts for playbooks: fabric under the policy for host keys, against real servers."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.step import Cancelled, CommandFailed
from oakctl.remote.target import Target
from tests.remote.servers import Machine, Machines, free_port

DEADLINE_S = 20.0


def refusal(target: Target) -> OakError:
    with pytest.raises(Unreachable) as caught, open_fabric(target):
        pass
    return caught.value


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make(noise="echo Welcome; echo to the machine >&2; ")


@pytest.fixture
def remote(machine: Machine) -> Iterator[FabricRemote]:
    with open_fabric(machine.target(accept_new=True)) as opened:
        yield opened


def test_unknown_host_key_is_refused_with_its_fingerprint(machine: Machine) -> None:
    error = refusal(machine.target())
    assert error.message == (
        f"host key of pi (127.0.0.1:{machine.port}) is not known: "
        f"ssh-ed25519 {machine.host_key.get_fingerprint()}"
    )
    assert "--accept-new" in error.hint
    assert machine.logins == []
    assert not paths.known_hosts().exists()


def test_accepted_once_then_strict(machine: Machine) -> None:
    with open_fabric(machine.target(accept_new=True)):
        pass
    with open_fabric(machine.target()):
        pass
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    machine.logins.clear()
    before = paths.known_hosts().read_bytes()
    assert (
        "has changed: stored ssh-ed25519 SHA256:"
        in refusal(machine.target(accept_new=True)).message
    )
    assert paths.known_hosts().read_bytes() == before
    assert machine.logins == []


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
def test_other_types_of_host_keys(machines: Machines, kind: str) -> None:
    machine = machines.make(host_key=asyncssh.generate_private_key(kind))
    with open_fabric(machine.target(accept_new=True)):
        pass
    with open_fabric(machine.target()):
        pass
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    assert f"stored {kind}" in refusal(machine.target()).message


def test_wrong_user_key(machine: Machine) -> None:
    other = machine.folder / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    error = refusal(machine.target(accept_new=True, identity_file=str(other)))
    assert str(other) in error.message
    assert "anna" in error.message
    assert error.hint == f"ssh-copy-id -i {other} -p {machine.port} anna@127.0.0.1"


def test_no_key_at_all(machine: Machine) -> None:
    assert (
        "does not let anna in" in refusal(machine.target(accept_new=True, identity_file="")).message
    )


def test_key_in_the_usual_place(machine: Machine, own_home: Path, tmp_path: Path) -> None:
    (own_home / ".ssh").mkdir()
    (own_home / ".ssh" / "id_ed25519").write_bytes((tmp_path / "id_ed25519").read_bytes())
    with open_fabric(machine.target(accept_new=True, identity_file="")):
        pass


def test_nobody_listens(machine: Machine) -> None:
    port = free_port()
    assert f"127.0.0.1:{port} refuses connections" in refusal(machine.target(port=port)).message


def test_name_that_is_none(machine: Machine) -> None:
    error = refusal(machine.target(address="no-such-host.invalid"))
    assert "cannot be looked up" in error.message


def test_hop_is_checked_like_the_target(machines: Machines, machine: Machine) -> None:
    hop = machines.make()
    jump = (f"hopper@127.0.0.1:{hop.port}",)
    with open_fabric(machine.target(accept_new=True, jump=jump)) as remote:
        assert remote.run("echo here").stdout == "here\n"
    assert (hop.logins[-1], machine.logins[-1]) == ("hopper", "anna")
    hop.restart(asyncssh.generate_private_key("ssh-ed25519"))
    machine.logins.clear()
    error = refusal(machine.target(accept_new=True, jump=jump))
    assert f"jump host of pi (127.0.0.1:{hop.port}) has changed" in error.message
    assert machine.logins == []
    beyond = machines.make()
    jump = (f"hopper@127.0.0.1:{beyond.port}",)
    error = refusal(beyond.target(accept_new=True, jump=jump, port=free_port()))
    assert "not reached from the jump host" in error.message


def test_ssh_config_of_the_user_changes_nothing(machine: Machine, own_home: Path) -> None:
    (own_home / ".ssh").mkdir()
    (own_home / ".ssh" / "config").write_text("Host *\n  Port 1\n  ProxyJump nowhere\n  User x\n")
    with open_fabric(machine.target(accept_new=True)):
        pass
    assert machine.logins == ["anna"]


def test_a_command_and_nothing_of_the_login_shell(remote: FabricRemote) -> None:
    done = remote.run("cat; echo err >&2; exit 3", stdin=b"secret \xc3\xa4\n", check=False)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "secret ä\n", "err\n")
    assert remote.run("cat <<'X'\nit's $HOME\nX").stdout == "it's $HOME\n"
    assert remote.run("cat").stdout == ""  # its standard input ends at once
    assert remote.run("printf '\\377'").stdout == "\ufffd"


def test_a_failed_command_says_its_last_lines(remote: FabricRemote) -> None:
    with pytest.raises(CommandFailed) as caught:
        remote.run("echo out; echo why >&2; false")
    assert caught.value.details == ("out", "why")
    assert caught.value.completed.exit_code == 1


def test_much_on_both_streams(remote: FabricRemote) -> None:
    done = remote.run(
        "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2"
    )
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 300_000)


def test_more_input_than_is_read(remote: FabricRemote) -> None:
    assert remote.run("head -c 1 >/dev/null; echo ok", stdin=b"x" * 3_000_000).stdout == "ok\n"


def test_a_command_that_takes_too_long(remote: FabricRemote) -> None:
    with pytest.raises(DeadlineExceeded, match="`sleep 60` did not end within"):
        remote.run("sleep 60", timeout_s=0.2)
    assert remote.run("echo still here").stdout == "still here\n"


def test_a_command_that_takes_too_long_is_ended_on_the_host(
    remote: FabricRemote, machine: Machine
) -> None:
    file = machine.home / "pid"
    # On a busy machine it may take a while until it has begun, before which nothing is tried.
    for timeout_s in (0.5, 5, 60):
        with pytest.raises(DeadlineExceeded):
            remote.run(
                f"echo $$ >{file}.new; mv {file}.new {file}; sleep 600; true", timeout_s=timeout_s
            )
        if file.exists():
            break
    deadline = time.monotonic() + 60
    shell = Path("/proc", file.read_text().strip())
    while shell.exists():
        assert time.monotonic() < deadline, "the command goes on"
        time.sleep(0.02)


def test_files(remote: FabricRemote, machine: Machine) -> None:
    path = machine.home / "a b" / "it's" / "file"
    content = bytes(range(256)) * 4000
    steps: list[tuple[int, int]] = []
    assert remote.read(str(path)) is None
    remote.put(str(path), content, progress=lambda done, total: steps.append((done, total)))
    assert remote.read(str(path)) == path.read_bytes() == content
    assert steps[-1] == (len(content), len(content))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    remote.put(str(path), b"", mode=0o755)
    assert (remote.read(str(path)), stat.S_IMODE(path.stat().st_mode)) == (b"", 0o755)
    assert list(path.parent.iterdir()) == [path]


def test_what_a_put_left_that_was_cut_off_goes_with_the_next(
    remote: FabricRemote, machine: Machine
) -> None:
    path = machine.home / "file"
    (machine.home / "file.0a1b2c3d.part").write_text("ha")
    (machine.home / "file.part").write_text("somebody's own")

    remote.put(str(path), b"whole")

    assert sorted(file.name for file in machine.home.glob("file*")) == ["file", "file.part"]


def test_a_file_that_cannot_be_written_or_read(remote: FabricRemote, machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="put /dev/null/x"):
        remote.put("/dev/null/x", b"1")
    with pytest.raises(CommandFailed, match="read "):
        remote.read(str(machine.home))


def test_the_superuser_is_needed_and_is_not_there(machine: Machine, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "id").write_text('#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo anna\n')
    for refusing in ("sudo", "doas"):
        (tools / refusing).write_text("#!/bin/sh\nexit 1\n")
        (tools / refusing).chmod(0o755)
    (tools / "id").chmod(0o755)
    machine.environment["PATH"] = f"{tools}:/usr/bin:/bin"
    with open_fabric(machine.target(accept_new=True)) as remote:
        with pytest.raises(OakError, match="pi: sudo asks for a password for anna") as caught:
            remote.root("true")
        assert "--sudo-password-file" in caught.value.hint
        (tools / "id").write_text("#!/bin/sh\necho 0\n")
    with open_fabric(machine.target()) as remote:
        assert remote.root("echo yes").stdout == "yes\n"


def test_many_commands_at_once(remote: FabricRemote) -> None:
    answers: list[str] = []

    def ask(number: int) -> None:
        answers.append(remote.run(f"echo {number}").stdout)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(answers) == sorted(f"{number}\n" for number in range(20))


def test_close_cuts_off_what_runs(remote: FabricRemote, machine: Machine) -> None:
    raised: list[Exception] = []

    def work() -> None:
        try:
            remote.run(f"touch '{machine.home}/began'; sleep 60")
        except OakError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    machine.until(lambda: (machine.home / "began").exists())
    remote.close()
    thread.join(DEADLINE_S)
    assert isinstance(raised[0], Cancelled)
    with pytest.raises(Cancelled):
        remote.run("true")


def test_a_lost_connection_is_said_and_not_made_anew(
    remote: FabricRemote, machine: Machine
) -> None:
    machine.restart()
    with pytest.raises(Unreachable, match="connection was lost during `true`"):
        remote.run("true")


def test_a_login_shell_that_runs_nothing(machine: Machine) -> None:
    machine.noise = "echo This account is not available; exit 1; "
    error = refusal(machine.target(accept_new=True))
    assert "runs no commands" in error.message
    assert error.details[-1] == "This account is not available"
