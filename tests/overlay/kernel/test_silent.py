"""Callers and an instance that has ended: they wait, and are not refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from oakctl.overlay.kernel.ledger import Ledger
from oakctl.overlay.kernel.planning import Sight
from tests.waiting import until_now

from .nodes import A1, A2, PORT, RR, Node, end, table, target
from .test_planning import HERE, PLACE

MakeNode = Callable[..., Node]


def test_just_the_instances_of_this_node_in_which_nothing_runs_are_silent() -> None:
    ledger = Ledger(PLACE)
    ledger.follow([], Sight(local=frozenset({HERE})))
    assert ledger.whole().silent == {}
    down = Sight(local=frozenset({HERE}), down=frozenset({HERE, "10.18.0.77"}))
    old, new, _ = ledger.follow([], down)
    assert (old.silent, new.silent) == ({}, {HERE: ""})
    _, new, _ = ledger.follow([], replace(down, local=frozenset()))
    assert new.silent == {}


@pytest.mark.slow
def test_a_caller_elsewhere_waits_for_the_instance_to_be_back(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A1)
    tables = table(target("a", A1), expected=1)
    a.apply(tables)
    b.apply(tables)
    a.call("down", [A1])
    waiting = b.talk("", RR, "tcp")
    assert waiting.stdin is not None
    waiting.stdin.write(b"\n")
    waiting.stdin.flush()
    until_now(
        "its first packet to be sent again",
        lambda: b.run("ss", "-Htno", "state", "syn-sent"),
        lambda listed: re.search(r"timer:\(on,[^,]*,[1-9]", listed),
        wait_s=60,
    )
    a.serve(A1, "a1")
    # The node itself is never kept from asking whether an instance is ready.
    assert a.ask("", A1) == ["a1 10.18.0.65"]
    a.call("down", [])
    assert waiting.stdout is not None
    assert waiting.stdout.readline().startswith(b"a1 ")


@pytest.mark.slow
def test_nobody_is_refused_before_it_is_noticed_that_the_only_one_has_ended(
    make_node: MakeNode,
) -> None:
    a, b = make_node("a"), make_node("b")
    first = a.serve(A1, "first")
    a.call("attach", A2)
    tables = table(target("a", A1), expected=1)
    a.apply(tables)
    b.apply(tables)
    calls = [a.load(A2, RR, "second"), a.load("", RR, "second"), b.load("", RR, "second")]
    end(first)
    until_now("calls to it", lambda: [doubted(a), doubted(b)], all, wait_s=60, step_s=0.005)
    a.call("down", [A1])
    a.serve(A1, "second")
    a.call("down", [])
    for call in calls:
        assert call.stdout is not None
        assert call.stdout.readline() == b"under way\n"
        answers = json.loads(call.stdout.readline())
        assert [each for each in answers if each.startswith("no connection")] == []


def doubted(node: Node) -> bool:
    """Whether there are calls of which a refusal was not passed on."""
    return "elements" in node.run("nft", "list", "set", "ip", "oakctl", "doubted")


@pytest.mark.slow
def test_where_nothing_listens_is_refused_in_the_end(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.serve(A1, "a1")
    a.call("attach", A2)
    tables = table(target("a", A1), expected=1)
    a.apply(tables)
    b.apply(tables)
    for node, client in ((a, A2), (a, A1), (a, ""), (b, "")):
        assert node.ask(client, RR, port=PORT + 1) == ["ConnectionRefusedError"]
        assert doubted(node)
        # Its own address is no service's: there is nobody else whom it could be led to.
        node.run("nft", "flush", "set", "ip", "oakctl", "doubted")
        assert node.ask(client, A1, port=PORT + 1) == ["ConnectionRefusedError"]
        assert not doubted(node)
