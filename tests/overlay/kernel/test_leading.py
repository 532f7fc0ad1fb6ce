"""Where service addresses and ports lead on hosts of a namespaces lab: real rules, real packets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from oakctl.model.service import ServiceAddresses

from .nodes import A1, A2, B1, B2, CLOSEST, GATEWAY_A, LEAST, RR, Node, names, say, table, target

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", ["library", "command"])
def test_service_addresses_lead_to_instances_from_everywhere(make_node: MakeNode, way: str) -> None:
    a, b = make_node("a", way), make_node("b", way)
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.call("attach", A2)
    targets = (target("a", A1), target("b", B1))
    a.apply(table(*targets))
    b.apply(table(*targets))
    for client, source in ((A2, A2), ("", GATEWAY_A)):
        for protocol in ("tcp", "udp"):
            answers = a.ask(client, RR, 60, protocol)
            assert set(answers) == {f"a1 {source}", f"b1 {source}"}
            assert set(a.ask(client, CLOSEST, 3, protocol)) == {f"a1 {source}"}
    # An instance reaches itself: by the node's address, or it would drop its own.
    assert set(a.ask(A1, RR, 60)) == {f"a1 {GATEWAY_A}", f"b1 {A1}"}
    assert set(b.ask("", CLOSEST, 3)) == {"b1 10.18.0.129"}
    assert a.ask(A2, B1) == [f"b1 {A2}"]
    assert "1 received" in a.run("ip", "netns", "exec", f"oak-{A2}", "ping", "-c1", CLOSEST)


@pytest.mark.parametrize("way", ["library", "command"])
def test_a_client_stays_with_its_instance_while_that_lives(make_node: MakeNode, way: str) -> None:
    a, b = make_node("a", way), make_node("b")
    a.call("attach", A2)
    for address, name in ((B1, "b1"), (B2, "b2")):
        b.serve(address, name)
    two = replace(table(target("b", B1), target("b", B2)), affinity="client")
    a.apply(two)
    by_client = {client: set(names(a.ask(client, RR, 20))) for client in (A2, "")}
    assert [len(found) for found in by_client.values()] == [1, 1]
    (its,) = by_client[A2]
    stays, goes = (B1, B2) if its == "b1" else (B2, B1)
    a.apply(replace(two, targets=(target("b", stays),)))
    a.apply(two)
    # Who came first has all places but those that were taken from it; a new agent keeps to that.
    places = a.run("nft", "list", "map", "ip", "oakctl", "slots")
    found = names(a.ask(A2, RR, 20))
    a.kill()
    a.start()
    a.apply(two)
    assert a.run("nft", "list", "map", "ip", "oakctl", "slots") == places
    assert names(a.ask(A2, RR, 20)) == found
    a.apply(replace(two, targets=(target("b", goes),)))
    assert names(a.ask(A2, RR, 5)) == {"b2" if its == "b1" else "b1": 5}


def test_new_flows_are_shared_by_weight_and_by_what_is_to_spare(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    for address, name in ((B1, "b1"), (B2, "b2")):
        b.serve(address, name)
    shares = table(target("b", B1, weight=9, spare=0), target("b", B2, weight=1, spare=4))
    a.apply(replace(shares, addresses=ServiceAddresses(RR, CLOSEST, LEAST)))
    found = names(a.ask("", RR, 100))
    assert found["b1"] > found["b2"]  # 90 and 10 of a hundred
    assert names(a.ask("", LEAST, 20)) == {"b2": 20}
    assert "1 received" in a.run("ping", "-c1", LEAST)


def test_udp_follows_the_closest_and_tcp_stays(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    a.apply(table(target("b", B1)))
    tcp, udp = a.talk(A2, CLOSEST, "tcp"), a.talk(A2, CLOSEST, "udp")
    assert say(tcp) == say(udp) == f"b1 {A2}"
    a.serve(A1, "a1")
    a.apply(table(target("b", B1), target("a", A1)))
    assert say(tcp) == f"b1 {A2}"
    assert say(udp) == f"a1 {A2}"


def test_a_service_address_that_is_taken_is_told(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    mine = table(target("a", A1))
    a.apply(mine, replace(mine, job_name="z.n.thief.n", targets=()))
    assert names(a.ask(A1, RR, 3)) == {"a1": 3}
    (first, second) = a.call("problems")
    assert first == f"service address {RR} is taken by ar.ns.rec.ns: z.n.thief.n cannot have it"
    assert second.startswith(f"service address {CLOSEST} is taken")


def test_published_ports_lead_to_the_instance_here(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1), published=8080))
    assert b.ask("", a.lab.address("a"), port=8080) == [f"a1 {a.lab.address('b')}"]
    assert names(a.ask("", a.lab.address("a"), port=8080)) == {"a1": 1}
    a.apply(table(target("a", A1)))
    assert b.ask("", a.lab.address("a"), port=8080) == ["ConnectionRefusedError"]


def test_an_instance_reaches_the_world_by_the_hosts_address(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A1)
    b.serve(B1, "b1")
    b.apply(table(target("b", B1), published=8080))
    assert a.ask(A1, b.lab.address("b"), port=8080) == [f"b1 {a.lab.address('a')}"]
