"""Flows of instances that drain, end, or are taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .nodes import A1, A2, B1, B2, CLOSEST, RR, Node, names, say, table, target

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


def test_who_drains_keeps_its_flows_and_gets_no_new_ones(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    b.serve(B2, "b2")
    a.apply(table(target("b", B1)))
    tcp, udp = a.talk(A2, RR, "tcp"), a.talk(A2, RR, "udp")
    assert say(tcp) == say(udp) == f"b1 {A2}"
    a.apply(table(target("b", B1, draining=True), target("b", B2)))
    assert names(a.ask(A2, RR, 20)) == {"b2": 20}
    assert say(tcp) == say(udp) == f"b1 {A2}"


def test_flows_of_a_dead_instance_end_or_move(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    a.apply(table(target("b", B1)))
    clients = (A2, "")
    tcp = [a.talk(client, RR, "tcp") for client in clients]
    udp = [a.talk(client, RR, "udp") for client in clients]
    readers = [a.listen(client, RR) for client in clients]
    for flow in (*tcp, *udp):
        assert say(flow).startswith("b1")
    b.serve(B2, "b2")
    b.run("ip", "link", "delete", "oakv0a120082")  # silent from now on
    a.apply(table(target("b", B2)))
    assert [say(flow).split()[0] for flow in udp] == ["b2", "b2"]
    for flow in tcp:
        assert say(flow) in ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError")
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ConnectionAbortedError\n"


def test_one_in_which_nothing_runs_gets_no_new_flows_and_keeps_its_last_words(
    make_node: MakeNode,
) -> None:
    a, b = make_node("a"), make_node("b")
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.call("attach", A2)
    a.apply(table(target("a", A1), target("b", B1), published=8080))
    tcp, udp = a.talk(A2, CLOSEST, "tcp"), a.talk(A2, CLOSEST, "udp")
    assert say(tcp) == say(udp) == f"a1 {A2}"
    assert a.call("down", [A1]) is True
    assert names(a.ask(A2, RR, 20)) == {"b1": 20}
    assert say(tcp) == f"a1 {A2}"
    assert say(udp) == f"b1 {A2}"
    assert b.ask("", a.lab.address("a"), port=8080) == ["ConnectionRefusedError"]
    a.call("down", [])
    assert names(a.ask(A2, CLOSEST, 2)) == {"a1": 2}


def test_an_instance_that_is_detached_is_left_out_at_once(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.apply(table(target("a", A1), target("b", B1)))
    a.call("detach", A1)
    assert names(a.ask(A2, RR, 20)) == {"b1": 20}
    assert names(a.ask(A2, CLOSEST, 2)) == {"b1": 2}
