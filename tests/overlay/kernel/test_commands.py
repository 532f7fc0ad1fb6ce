"""Commands for cables, and for rules that others have."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel import cables, conntrack, flows, forwarding
from oakctl.overlay.kernel.driver import KernelDriver
from oakctl.overlay.kernel.flows import Flow
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.nft import Command
from oakctl.overlay.kernel.planning import Place
from oakctl.overlay.kernel.ruleset import Networks
from oakctl.overlay.plan import NodeOverlay

LONGEST_NAME = 15  # of an interface, in bytes
DOCKER = ["-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN"]
NETWORKS = Networks("10.18.0.64/26")


@given(st.ip_addresses(v=4).map(str))
def test_names_tell_the_address_and_fit(address: str) -> None:
    assert len(cables.interface(address)) <= LONGEST_NAME
    assert cables.address_of(cables.namespace(address)) == address


@pytest.mark.parametrize("name", ["oak-", "oak-10.18.0", "oak-x", "other-10.18.0.66", "10.18.0.66"])
def test_namespaces_of_others_are_not_ours(name: str) -> None:
    assert cables.address_of(name) == ""


def test_what_is_there_is_not_added_again() -> None:
    first, again = cables.node(NETWORKS, ()), cables.node(NETWORKS, {"oak0"})
    assert [line for line in first if line.startswith("link add")]
    assert not [line for line in again if " add " in line]
    assert cables.node_removal(NETWORKS, ())[0].startswith("route delete")


def added(listed: list[str], commands: list[tuple[str, ...]]) -> list[str]:
    """What iptables lists afterwards; it quotes comments only where it must."""
    return [*listed, *(" ".join(("-A", *command[3:])) for command in commands)]


@pytest.mark.parametrize(
    ("listed", "chain"),
    [(DOCKER, "DOCKER-USER"), (["-P FORWARD DROP"], "FORWARD")],
)
def test_two_rules_let_us_pass_and_go_again(listed: list[str], chain: str) -> None:
    commands = forwarding.missing("\n".join(listed))
    assert [(command[2], command[3], command[4]) for command in commands] == [
        ("-I", chain, "-i"),
        ("-I", chain, "-o"),
    ]
    there = "\n".join(added(listed, commands))
    assert forwarding.missing(there) == []
    assert [(command[2], *command[3:]) for command in forwarding.present(there)] == [
        ("-D", *command[3:]) for command in commands
    ]


def test_where_nothing_drops_nothing_is_added() -> None:
    assert forwarding.missing("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n") == []
    assert forwarding.missing("") == forwarding.present("") == []


@pytest.mark.parametrize(
    "listed",
    [["-P INPUT DROP"], ["-P INPUT ACCEPT", "-A INPUT -j REJECT --reject-with icmp-port-unreach"]],
)
def test_the_tunnel_and_echoes_come_in_where_others_do_not(listed: list[str]) -> None:
    commands = forwarding.missing("\n".join(listed), 51821)
    assert [command[3] for command in commands] == ["INPUT", "INPUT"]
    assert ("--dport", "51821") in [command[8:10] for command in commands]
    there = "\n".join(added(listed, commands))
    assert forwarding.missing(there, 51821) == []
    other = "\n".join(added(listed, forwarding.missing("\n".join(listed), 51820)))
    assert len(forwarding.present(other)) == 2, "for whatever port it was"


def test_firewalld_is_told_what_it_does_not_have() -> None:
    assert forwarding.firewalld("", 51820) == []
    told = forwarding.firewalld("table inet firewalld {\n}\n", 51820)
    assert [words[2:] for words in told] == [
        ("--zone=trusted", "--add-interface=oak+"),
        ("--add-port=51820/udp",),
    ]
    there = 'iifname "oak*" goto filter_FWD_trusted\n udp dport 51820 accept\n'
    assert forwarding.firewalld(there, 51820) == []
    assert [words[-1] for words in forwarding.undone(told)] == [
        "--remove-interface=oak+",
        "--remove-port=51820/udp",
    ]


class Bare(Host):
    """A host with nothing of ours, on which every program fails in the same way."""

    def __init__(self, number: int) -> None:
        self._number = number

    def run(self, argv: Sequence[str], text: str = "") -> str:
        raise OSError(self._number, argv[0])

    def ip(self, lines: Iterable[str], namespace: str = "", *, force: bool = False) -> None:
        assert force

    def links(self) -> frozenset[str]:
        return frozenset()

    def namespaces(self) -> frozenset[str]:
        return frozenset()


class NoTable(Command):
    def run(self, text: str) -> None:
        """There was none."""


def test_removal_from_a_host_that_has_none_of_the_programs(tmp_path: Path) -> None:
    host = Bare(errno.ENOENT)
    KernelDriver(Place("a", "edge", NETWORKS), tmp_path, host=host, rules=Command(host)).remove()


def test_rules_of_iptables_that_cannot_be_listed_in_time_are_not_taken_for_none(
    tmp_path: Path,
) -> None:
    host = Bare(errno.ETIMEDOUT)
    driver = KernelDriver(Place("a", "edge", NETWORKS), tmp_path, host=host, rules=NoTable(host))
    with pytest.raises(TimeoutError, match="iptables"):
        driver.remove()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="there is no program oakctl-no-such"):
        Host().run(("oakctl-no-such",))


class Echoing(Bare):
    """Has `ss` take its command line as the kernel does, and remembers it."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT)
        self.closed = ""

    def run(self, argv: Sequence[str], text: str = "") -> str:
        if argv[0] == "ss":
            self.closed += subprocess.run(("/bin/echo", *argv), capture_output=True).stdout.decode()
        return ""


def test_the_sockets_of_any_number_of_flows_are_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ports = range(20_000, 30_000)
    ended = tuple(
        Flow(flows.TCP, NETWORKS.gateway, port, "10.30.9.1", 7000, "10.18.0.130", b"")
        for port in ports
    )
    monkeypatch.setattr(conntrack, "delete_flows", lambda prefixes, goes: ended)
    host = Echoing()
    driver = KernelDriver(Place("a", "edge", NETWORKS), tmp_path, host=host, rules=NoTable(host))
    driver.apply(NodeOverlay("a", None))
    assert all(f":{port} dst " in host.closed for port in ports)
