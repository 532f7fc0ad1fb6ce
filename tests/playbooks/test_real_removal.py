"""Both roles on a real Debian, by each kind of login, and the host afterwards as it was before."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from oakctl.model import subjects
from oakctl.model.tokens import JoinFile, TokenOrder
from oakctl.model.views import StepEvent
from oakctl.remote import bootstrap, connection, join_archive, release
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs
from oakctl.remote.residence import SYSTEM, USER, Residence
from oakctl.remote.step import Remote
from oakctl.remote.supervisor import supervisor_of
from oakctl.remote.target import Target
from tests.lab.requirements import MARKS
from tests.lab.snapshot import ROOTS, SCRIPT, Snapshot, difference, parse
from tests.playbooks.conftest import ROOT_SECRET, SALT, WORKER_SECRET, enrol, order
from tests.playbooks.real_host import RealHost, real_host
from tests.playbooks.test_release import another

pytestmark = [*MARKS]

# Users without rights: one whose processes may run without a session, as an administrator said,
# and one who has to say so. These hosts have no polkit, which lets a user do that: what stands
# for it makes the file that logind looks at.
USERS = """
# Numbers that no user of this machine has: a host's processes are this machine's, too.
uid=33100
for user in plain other; do
  uid=$((uid + 1))
  useradd -m -u $uid -s /bin/bash $user
  mkdir -p /home/$user/.ssh; cp /home/oak/.ssh/authorized_keys /home/$user/.ssh/
  chown -R $user: /home/$user/.ssh
done
mkdir -p /root/.ssh; cp /home/oak/.ssh/authorized_keys /root/.ssh/
loginctl enable-linger plain
until loginctl show-user plain >/dev/null 2>&1; do sleep 0.1; done
chmod 1777 /var/lib/systemd/linger
cat >/usr/local/bin/loginctl <<'END'
#!/bin/sh
case "$1" in
enable-linger) exec touch "/var/lib/systemd/linger/$(id -un)" ;;
disable-linger) exec rm -f "/var/lib/systemd/linger/$(id -un)" ;;
*) exec /usr/bin/loginctl "$@" ;;
esac
END
chmod 755 /usr/local/bin/loginctl
"""
CLUSTER = ClusterInputs("edge", "rom", None, "10.18.0.0/20", ROOT_SECRET)
# Login → where it lives, and who keeps its processes running.
LOGINS = {
    "root": ("/opt/oakctl", SYSTEM),
    "oak": ("/opt/oakctl", SYSTEM),
    "plain": ("/home/plain/.oakctl", USER),
    "other": ("/home/other/.oakctl", USER),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with real_host("removal", tmp_path_factory.mktemp("removal")) as made:
        made.shell(USERS)
        yield made


@pytest.fixture(autouse=True)
def own_directories(host: RealHost) -> None:
    """In place of directories for each test: the lab is one for all of them."""


class Login:
    """One way to be on the host, and what is done that way."""

    def __init__(self, host: RealHost, user: str, folder: Path) -> None:
        self.target: Target = dataclasses.replace(host.target, user=user)
        self._folder = folder
        self.done: list[str] = []

    def both_roles(self) -> list[str]:
        """Make the host an orchestrator and a worker; the steps that were carried out."""
        self.done = []
        never = threading.Event()
        access = bootstrap.bootstrap_cluster(self.target, CLUSTER, self._report, never)
        asyncio.run(enrol(access, self._folder))
        worker = WorkerInputs(
            "w1", "edge", WORKER_SECRET, access.bus_address, access.bus_port, access.ca_pem
        )
        bootstrap.bootstrap_worker(self.target, worker, self._report, never)
        return self.done

    def remove(self) -> None:
        for role in ("worker", "cluster"):
            bootstrap.remove(self.target, role, self._report, threading.Event())

    def _report(self, event: StepEvent) -> None:
        if event.state == "done":
            self.done.append(event.step)


def picture(host: RealHost) -> Snapshot:
    return parse(host.shell(f"python3 - {' '.join(ROOTS)}", SCRIPT.encode()))


def residence(remote: Remote) -> tuple[str, str]:
    assert isinstance(remote.residence, Residence)
    return remote.residence.prefix, remote.residence.supervisor


def main_pids(remote: Remote) -> dict[str, str]:
    """Of the units that run there, by the system's or the user's own systemd."""
    scope = "" if residence(remote)[1] == SYSTEM else "--user "
    ask = f'XDG_RUNTIME_DIR="/run/user/$(id -u)" systemctl {scope}show -p MainPID --value oakctl-'
    return {name: remote.run(ask + name).stdout.strip() for name in supervisor_of(remote).states()}


@pytest.mark.parametrize("user", LOGINS)
def test_made_upgraded_taken_back_and_removed(host: RealHost, user: str, tmp_path: Path) -> None:
    login = Login(host, user, tmp_path)
    before = picture(host)
    assert "worker: start the agent" in login.both_roles()
    assert login.both_roles() == []
    made = {change.name for change in difference(before, picture(host))}
    assert f"file {LOGINS[user][0]}" in made, "so that the comparison is one"

    version, content = another("newer")
    with connection.open_fabric(login.target) as remote:
        assert residence(remote) == LOGINS[user]
        assert supervisor_of(remote).states() == dict.fromkeys(
            ("agent", "bus", "orchestrator"), "running"
        )
        first = main_pids(remote)
        release.install(remote, version, content)
        release.switch(remote, version)
        release.restart(remote, release.units(remote))
        second = main_pids(remote)
        assert {name for name in first if first[name] == second[name]} == {"bus"}
        assert release.roll_back(remote, version) != version
        release.restart(remote, release.units(remote))
    assert login.both_roles() == []

    login.remove()
    assert [str(change) for change in difference(before, picture(host))] == []
    login.remove()
    assert [str(change) for change in difference(before, picture(host))] == []


def invited(access: ClusterAccess, worker: str, folder: Path) -> bytes:
    """The program of a token that the cluster knows."""
    own, given = (bcrypt.hashpw(f"{worker}-{n}".encode(), SALT).decode() for n in "ab")
    token = TokenOrder(f"of-{worker}", worker, own, given, f"{worker}-b")
    asyncio.run(order(access, folder, subjects.CTL_INVITE, token))
    told = JoinFile(token.id, "edge", worker, f"{worker}-a",
                    access.bus_address, access.bus_port, access.ca_pem)  # fmt: skip
    return join_archive.build(told)


def test_a_join_program_makes_a_worker_and_takes_it_away(host: RealHost, tmp_path: Path) -> None:
    """Beside the cluster, as the superuser and as a user; what is the cluster's stays."""
    operator = Login(host, "root", tmp_path)
    access = bootstrap.bootstrap_cluster(
        operator.target, CLUSTER, lambda _: None, threading.Event()
    )
    for user in ("root", "plain"):
        program = f"/var/tmp/{user}.pyz"
        content = invited(access, f"w-{user}", tmp_path)
        with connection.open_fabric(Login(host, user, tmp_path).target) as owner:
            prefix = owner.layout.prefix
            owner.put(program, content)
            before = picture(host)
            joined = owner.as_login(f"python3 {program}", timeout_s=180).stdout
            assert f"this machine is worker w-{user} of cluster edge" in joined
            assert supervisor_of(owner).states()["agent"] == "running"
            pids = main_pids(owner)
            again = owner.as_login(f"python3 {program}", timeout_s=180).stdout
            assert "nothing to do" in again
            assert main_pids(owner) == pids
            gone = owner.as_login(f"python3 {program} --remove", timeout_s=180).stdout
            assert "nothing of it is left" in gone
            assert "agent" not in supervisor_of(owner).states()
            left = [str(change) for change in difference(before, picture(host))]
            assert [one for one in left if "/opt/oakctl" not in one] == []
            assert user == "root" or owner.run(f"ls {prefix}", check=False).exit_code != 0
            owner.run(f"rm {program}")
    with connection.open_fabric(operator.target) as remote:
        assert supervisor_of(remote).states() == dict.fromkeys(("bus", "orchestrator"), "running")
    operator.remove()
