"""Looking at real hosts, and hosts that try to reach each other through routers and firewalls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site, Sudo, Suite
from oakctl.model.views import HostCheck, HostFinding, HostView
from oakctl.orchestration.root.checking import Checking
from oakctl.orchestration.root.installer import SshInstaller
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote.connection import open_fabric
from oakctl.remote.target import Target
from tests.lab.places import machine_lab
from tests.lab.requirements import MARKS

pytestmark = [*MARKS]
NAME = "fcheck"
PLAN = LabPlan(
    hosts=(
        MachineHost("hub"),
        MachineHost("near", suite=Suite.BOOKWORM, sudo=Sudo.PASSWORD),
        MachineHost("home", site="home"),
    ),
    sites=(Site("home", Nat.PORT_RESTRICTED),),
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[HostView]]:
    with machine_lab(NAME, PLAN, tmp_path_factory.mktemp("check")) as lab:
        yield lab.hosts


@pytest.fixture(autouse=True)
def own_directories() -> None:
    """In place of directories for each test: the hosts are the same for all of them."""


def named(hosts: Sequence[HostView], name: str) -> HostView:
    return next(host for host in hosts if host.name.endswith(name))


def check(hosts: Sequence[HostView], orchestrator: str = "") -> HostCheck:
    passwords = Passwords()
    checking = Checking(SshInstaller(passwords), passwords)
    hub = named(hosts, orchestrator).name if orchestrator else ""
    return asyncio.run(checking.check(hosts, accept_new=False, orchestrator=hub))


def about(found: HostCheck, topic: str, host: str = "") -> list[HostFinding]:
    return [f for f in found.findings if f.topic == topic and f.host.endswith(host)]


@contextmanager
def changed(host: HostView, do: str, undo: str) -> Iterator[None]:
    with open_fabric(Target.of(host)) as remote:
        remote.root(do)
    try:
        yield
    finally:
        with open_fabric(Target.of(host)) as remote:
            remote.root(undo)


def test_bare_hosts_are_usable_and_reach_the_orchestrator(hosts: Sequence[HostView]) -> None:
    """Also from behind NAT, and where sudo asks for a password."""
    found = check(hosts, "hub")
    assert [f for f in found.findings if f.severity == "block"] == []
    reach = about(found, "reach")
    assert [f.severity for f in reach] == ["note", "note"]
    assert all(f.message.startswith("it reaches port 4222 of") for f in reach)
    assert [name.endswith("near") for name in found.asks_password] == [True]
    assert about(found, "copy") == about(found, "install") == []


def test_an_orchestrator_behind_nat_is_not_reached(hosts: Sequence[HostView]) -> None:
    found = check(hosts, "home")
    reach = about(found, "reach")
    assert {(f.host, f.severity) for f in reach} == {
        (named(hosts, name).name, "block") for name in ("hub", "near")
    }
    for finding in reach:
        assert "does not reach" in finding.message
        assert finding.remedy


def test_a_firewall_of_the_orchestrator_is_told_from_no_way(hosts: Sequence[HostView]) -> None:
    hook = "{ type filter hook input priority 0; policy accept; }"
    rules = f"nft 'add table ip fw; add chain ip fw in {hook}; add rule ip fw in tcp dport 4222 "
    for verdict in ("drop", "reject"):
        with changed(named(hosts, "hub"), f"{rules}{verdict}'", "nft delete table ip fw"):
            found = check(hosts, "hub")
        reach = about(found, "reach")
        assert len(reach) == 2, verdict
        for finding in reach:
            assert "a firewall before" in finding.message
            assert "4222" in finding.remedy


def test_a_copied_image_and_what_somebody_else_left(hosts: Sequence[HostView]) -> None:
    hub, home = named(hosts, "hub"), named(hosts, "home")
    with open_fabric(Target.of(hub)) as remote:
        mark = remote.run("cat /etc/machine-id").stdout.strip()
    worker = '{"cluster":"other","worker":"w7","prefix":"/opt/oakctl"}'
    do = (
        f"cp /etc/machine-id /root/id; echo {mark} >/etc/machine-id; mkdir -p /opt/oakctl/etc; "
        f"chmod 700 /opt/oakctl; echo '{worker}' >/opt/oakctl/etc/worker.json"
    )
    undo = "cat /root/id >/etc/machine-id; rm -rf /root/id /opt/oakctl"
    with changed(home, do, undo):
        found = check(hosts)
    copies = [f for f in about(found, "copy") if "machine-id" in f.message]
    assert {f.host for f in copies} == {hub.name, home.name}
    (install,) = about(found, "install")
    assert (install.host, "worker other/w7" in install.message) == (home.name, True)
