"""Rules that stay: without the agent, beside those of others, and after somebody changed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from oakctl.model.service import ServiceAddresses

from .nodes import A1, A2, B1, B2, CLOSEST, LEAST, RR, Failed, Node, names, say, table, target

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


def test_the_data_plane_goes_on_without_the_agent_and_a_new_one_takes_over(
    make_node: MakeNode,
) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    b.serve(B2, "b2")
    a.apply(table(target("b", B1)))
    flow = a.talk(A2, RR, "tcp")
    assert say(flow) == f"b1 {A2}"
    a.kill()
    assert say(flow) == f"b1 {A2}"
    assert names(a.ask(A2, RR, 3)) == {"b1": 3}
    a.start()  # knows no tables yet, and which instances it has
    assert say(flow) == f"b1 {A2}"
    assert names(a.ask(A2, RR, 3)) == {"b1": 3}
    a.apply(table(target("b", B1), target("b", B2)))
    assert say(flow) == f"b1 {A2}"
    assert set(names(a.ask(A2, RR, 40))) == {"b1", "b2"}


def test_a_second_time_changes_nothing(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    assert a.apply(table(target("a", A1))) is True
    before = a.run("nft", "list", "ruleset"), a.run("ip", "addr"), a.run("ip", "route")
    assert a.apply(table(target("a", A1))) is False
    a.call("attach", A1)
    assert (a.run("nft", "list", "ruleset"), a.run("ip", "addr"), a.run("ip", "route")) == before
    assert a.call("problems") == []


@pytest.mark.parametrize(
    "damage",
    [
        ("nft", "flush", "ruleset"),
        ("nft", "flush", "chain", "ip", "oakctl", "service"),
        ("nft", "delete", "table", "ip", "oakctl"),
        ("nft", "flush", "map", "ip", "oakctl", "one"),
        ("nft", "add", "element", "ip", "oakctl", "hold", "{ 10.30.9.9 }"),
    ],
)
def test_rules_that_somebody_changed_are_told_and_mended(
    make_node: MakeNode, damage: tuple[str, ...]
) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    second = table(target("a", A1), target("b", B1), published=8080)
    other = replace(second, job_name="x.n.x.n", addresses=ServiceAddresses(LEAST))
    a.apply(table(target("a", A1)), replace(other, affinity="client"))
    assert a.call("problems") == []
    a.run(*damage)
    assert ["changed" in problem for problem in a.call("problems")] == [True]
    assert a.call("problems") == []
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("sysctl -qw net.ipv4.ip_forward=0", "forwarding was turned off by somebody"),
        ("ip link delete oak0", "the interface oak0 was removed by somebody"),
    ],
)
def test_what_else_of_the_host_somebody_changed_is_told_and_mended(
    make_node: MakeNode, damage: str, words: str
) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1)))
    assert a.call("problems") == []
    a.run(*damage.split())
    assert [each.partition(";")[0] for each in a.call("problems")] == [words]
    assert a.call("problems") == []
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}
    assert names(a.ask("", RR)) == {"a1": 1}


def test_a_lan_that_has_addresses_of_ours_is_told(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1)))
    assert a.call("problems") == []
    for lan, network in (("10.30.5.0/24", "10.30.0.0/16"), ("10.18.64.0/18", "10.18.0.0/16")):
        a.run("ip", "route", "add", lan, "via", a.lab.address("b"))
        assert a.call("problems") == [
            f"network {network} is the overlay's, and {lan} leads to eth0 there"
        ]
        assert names(a.ask(A1, CLOSEST)) == {"a1": 1}
        a.run("ip", "route", "delete", lan)
        assert a.call("problems") == []


def test_a_change_after_the_table_was_removed_is_made_all_the_same(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.run("nft", "flush", "ruleset")
    with pytest.raises(Failed, match="nft: "):
        a.apply(table(target("a", A1)))
    a.apply(table(target("a", A1)))
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}


def test_beside_rules_that_drop_what_is_forwarded(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.run("iptables", "-P", "FORWARD", "DROP")
    a.run("iptables", "-N", "DOCKER-USER")
    a.run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    a.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    a.run("sh", "-c", "sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true")
    before = a.run("iptables", "-S")
    try:
        b.serve(B1, "b1")
        a.serve(A1, "a1")
        a.call("attach", A2)
        a.apply(table(target("a", A1), target("b", B1)))
        assert a.call("problems") == []  # what is looked at now and then: they came after us
        assert set(names(a.ask(A2, RR, 40))) == {"a1", "b1"}
        assert names(b.ask("", A1)) == {"a1": 1}
        # Somebody flushes the chain, or starts what fills it anew.
        a.run("iptables", "-F", "DOCKER-USER")
        assert ["was put back" in each for each in a.call("problems")] == [True]
        assert a.call("problems") == []
        assert set(names(a.ask(A2, RR, 40))) == {"a1", "b1"}
        a.call("remove")
        assert a.run("iptables", "-S") == before
    finally:
        a.run("iptables", "-F")
        a.run("iptables", "-X")
        a.run("iptables", "-P", "FORWARD", "ACCEPT")
        a.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
