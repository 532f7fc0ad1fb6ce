"""Field failures 11 to 15: host keys, jump hosts, agents, and servers that grant little."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import Unreachable
from oakctl.remote import bootstrap, sessions
from oakctl.remote.connection import open_fabric
from tests.remote import real_sshd
from tests.remote.real_sshd import server
from tests.remote.servers import Machines

real = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-"),
]


def said(error: Unreachable) -> str:
    return " ".join((error.message, *error.details))


def test_p11_a_changed_host_key_is_refused_at_once(machines: Machines, own_home: Path) -> None:
    known = own_home / ".ssh" / "known_hosts"
    known.parent.mkdir()
    known.write_text("# mine\n")
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)):
        pass
    before = len(machine.logins)
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(Unreachable) as caught:
        open_fabric(machine.target(accept_new=True))
    assert said(caught.value).count("SHA256:") == 2
    assert len(machine.logins) == before, "nothing was sent, nothing was tried again"
    assert known.read_text() == "# mine\n", "the user's own file is never rewritten"


def test_p12_an_unknown_host_key_names_the_way_out(machines: Machines) -> None:
    machine = machines.make()
    with pytest.raises(Unreachable) as caught:
        open_fabric(machine.target())
    assert "--accept-new" in caught.value.hint
    assert "SHA256:" in said(caught.value)
    assert machine.logins == []
    with open_fabric(machine.target(accept_new=True)):
        pass
    with open_fabric(machine.target()):  # it is stored
        pass
    assert f":{machine.port} " in paths.known_hosts().read_text()


def test_p13_every_hop_is_checked(machines: Machines) -> None:
    hop, machine = machines.make(), machines.make()
    with open_fabric(machine.target(accept_new=True)):  # the target is known, the hop is not
        pass
    with pytest.raises(Unreachable, match="the jump host of pi"):
        open_fabric(machine.target(jump=(f"anna@127.0.0.1:{hop.port}",)))


def test_p13_three_in_a_row_with_the_last_changed(machines: Machines) -> None:
    first, second, machine = machines.make(), machines.make(), machines.make()
    hops = tuple(f"anna@127.0.0.1:{each.port}" for each in (first, second))
    with open_fabric(machine.target(jump=hops, accept_new=True)) as remote:
        assert remote.facts.user
    with open_fabric(machine.target(jump=hops)):
        pass
    second.restart(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(Unreachable, match="the jump host of pi"):
        open_fabric(machine.target(jump=hops, accept_new=True))


def test_p14_only_the_named_key_is_offered(machines: Machines) -> None:
    named = machines.make().target()
    assert [offer.file for offer in named.identity().offers] == [Path(named.identity_file)]


def test_p14_a_dead_agent_is_no_failure(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        assert remote.run("echo yes").stdout == "yes\n"


@contextmanager
def agent(folder: Path, keys: int) -> Iterator[str]:
    """The socket of an agent that holds this many keys that nobody lets in."""
    socket = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for number in range(keys):
            key = folder / f"other{number}"
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(words, check=True, timeout=20)
            subprocess.run(
                ["ssh-add", "-q", str(key)],
                env=os.environ | {"SSH_AUTH_SOCK": str(socket)},
                check=True,
                timeout=20,
                stderr=subprocess.DEVNULL,
            )
        yield str(socket)
    finally:
        process.terminate()
        process.wait(20)


class TestWithARealServer:
    """OpenSSH, which counts tries and sessions."""

    pytestmark = real

    def test_p14_an_agent_full_of_other_keys(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with server(tmp_path / "s", options="MaxAuthTries 3") as target, agent(tmp_path, 6) as sock:
            monkeypatch.setenv("SSH_AUTH_SOCK", sock)
            with open_fabric(target) as remote:
                assert remote.facts.user == target.user

    def test_p15_a_server_with_two_sessions(self, tmp_path: Path) -> None:
        with (
            server(tmp_path, options="MaxSessions 2") as target,
            open_fabric(target) as remote,
            ThreadPoolExecutor(8) as threads,
        ):
            commands = [f"sleep 0.1; echo {number}" for number in range(8)]
            asked = [threads.submit(remote.as_login, command) for command in commands]
            answers = [each.result(60).stdout for each in asked]
        assert answers == [f"{number}\n" for number in range(8)]

    def test_p15_a_server_that_turns_most_away(self, tmp_path: Path) -> None:
        """As a bastion does with `MaxStartups`, when a fleet is looked at behind it."""
        with server(tmp_path, options="MaxStartups 3:100:6") as target:
            named = [replace(target, name=f"h{number}") for number in range(10)]
            with ThreadPoolExecutor(10) as threads:
                found = list(threads.map(bootstrap.look, named))
        assert {each.user for each in found} == {target.user}


def test_p15_fewer_sessions_than_the_default() -> None:
    assert sessions.MOST + 1 < 10  # and the lock's
