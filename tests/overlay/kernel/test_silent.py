"""Callers from other nodes and an instance that has ended: they wait, and are not refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from oakctl.overlay.kernel.ledger import Ledger
from oakctl.overlay.kernel.planning import Sight
from tests.waiting import until_now

from .nodes import RR, Node, table, target
from .test_planning import HERE, PLACE

MakeNode = Callable[..., Node]
A1, A2 = "10.18.0.66", "10.18.0.67"


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
    assert b.ask("", RR) == ["ConnectionRefusedError"]  # nobody has noticed yet
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
