"""What tries to connect mean: each kind of failure has its words and its remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote.equipment import Network
from oakctl.remote.facts import HostFacts
from oakctl.remote.reach_rules import Aim, Attempt, attempts, judge

MARK = "0123abcd"
AIM = Aim("hub", "10.0.0.5", 4222, 22, proof="PROOF")
REACHED = Attempt("10.0.0.5", 4222, said="PROOF")
SSH = Attempt("10.0.0.5", 22, said="SSH-2.0-OpenSSH_9.2p1")


def fails(fault: str, *others: Attempt, aim: Aim = AIM) -> tuple[str, str]:
    found = judge(aim, {"pi": [Attempt(aim.address, aim.port, fault=fault), *others]})
    assert [(each.host, each.severity) for each in found] == [("pi", "block")]
    return found[0].message, found[0].remedy


def test_who_reaches_it_is_not_mentioned() -> None:
    assert judge(AIM, {"pi": [REACHED], "pi-2": [SSH, REACHED]}) == []


def test_a_firewall_that_drops() -> None:
    message, remedy = fails("timed out", SSH)
    assert "SSH answers there: a firewall before hub" in message
    assert "TCP port 4222" in remedy
    facts = HostFacts(network=Network(firewalls=("ufw",)))
    message, remedy = fails("timed out", SSH, aim=replace(AIM, facts=facts))
    assert remedy == "on hub: sudo ufw allow 4222/tcp"


def test_a_firewall_that_rejects() -> None:
    message, _ = fails("Connection refused")
    assert "a firewall before hub does not let port 4222 through" in message


def test_nat() -> None:
    facts = HostFacts(reached_address="192.168.1.20")
    message, remedy = fails("timed out", SSH, aim=replace(AIM, facts=facts))
    assert "behind NAT" in message
    assert "forward TCP port 4222 to 192.168.1.20" in remedy
    same = HostFacts(reached_address="10.0.0.5")
    assert "NAT" not in fails("timed out", SSH, aim=replace(AIM, facts=same))[0]
    named = replace(AIM, address="hub.example.org", facts=facts)
    assert "NAT" not in fails("timed out", aim=named)[0], "a name says nothing of the address"


def test_no_way_at_all() -> None:
    message, remedy = fails("No route to host", Attempt("10.0.0.5", 22, fault="No route to host"))
    assert "no way to that address" in message
    assert "oakctl host add hub USER@ADDRESS" in remedy


def test_a_way_by_another_address() -> None:
    _, remedy = fails("timed out", Attempt("172.16.0.5", 4222, said="PROOF"))
    assert remedy == ("it does reach hub at 172.16.0.5: oakctl host add hub USER@172.16.0.5")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_loopback_is_each_machine_itself(address: str) -> None:
    message, _ = fails("Connection refused", aim=replace(AIM, address=address))
    assert "each machine's own" in message


def test_a_name_that_is_not_known_there() -> None:
    message, _ = fails("Name or service not known", aim=replace(AIM, address="hub.local"))
    assert "the name is not known there" in message


def test_ipv6_stands_in_brackets() -> None:
    message, _ = fails("timed out", aim=replace(AIM, address="fd00::5"))
    assert "[fd00::5]:4222" in message


def test_the_answer_is_read_by_its_mark() -> None:
    lines = ["Welcome!", f"{MARK}\t10.0.0.5\t4222\tsaid\tPROOF", f"x{MARK}\ta\t1\tsaid\tPROOF",
             f"{MARK}\t10.0.0.5\t22\tfault\t", f"{MARK}\ta\tb\tsaid\tx"]  # fmt: skip
    assert attempts(lines, MARK) == (REACHED, Attempt("10.0.0.5", 22, fault="no answer"))


@given(st.lists(st.text(max_size=60)), st.booleans())
def test_no_answer_breaks_the_reading(lines: list[str], marked: bool) -> None:
    known = attempts([f"{MARK}\t{line}" if marked else line for line in lines], MARK)
    for finding in judge(AIM, {"pi": known}):
        assert finding.host == "pi"
        assert finding.message
        assert finding.remedy
