"""Commands for cables, and for rules that others have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel import cables, forwarding
from oakctl.overlay.kernel.ruleset import Networks

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
    assert forwarding.missing("-P INPUT DROP\n-P FORWARD ACCEPT\n") == []
    assert forwarding.missing("") == forwarding.present("") == []
