"""What is said of a kernel overlay when it is asked for, and tries through a real tunnel."""

from __future__ import annotations

import json
import sys

import pytest

from oakctl.model.overlay import TUNNEL_PORT
from oakctl.model.overlay_asking import FAILED, REACHED
from tests.overlay.kernel.requirements import REPOSITORY

from .conftest import MakeNode
from .nodes import CLOSEST, PORT, RR, Node, table, target

pytestmark = pytest.mark.slow
HOME, OFFICE, OFFICE_NODE = "10.18.1.2", "10.18.1.66", "10.18.1.65"
TRY = """
import asyncio, json, sys
from oakctl.model import wire
from oakctl.orchestration.worker.overlay_probing import Try, carry_out
tries = [Try(*each) for each in json.loads(sys.argv[1])]
print(json.dumps(wire.to_plain(asyncio.run(carry_out(tries)))))
"""


def tried(node: Node, *tries: tuple[str, str, int]) -> list[str]:
    """What came of (kind, address, port), tried from the node's host."""
    asked = json.dumps([(kind, "it", at, at, port) for kind, at, port in tries])
    python = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", TRY, asked)
    return [probe["outcome"] for probe in json.loads(node.run(*python))]


def test_tries_from_inside_through_a_relay(make_site_node: MakeNode) -> None:
    hub, home, office = (make_site_node(name) for name in ("hub", "home", "office"))
    served = office.serve(OFFICE, "office")
    at = f"{hub.lab.address('hub')}:{TUNNEL_PORT}"
    known = [hub.known_as(at, relay=True), home.known_as(), office.known_as()]
    one = table(target("office", OFFICE))
    for node in (hub, home, office):
        node.connect(*known)
        node.apply(one)
    tries = (
        ("ping", OFFICE_NODE, 0),
        ("ping large", OFFICE_NODE, 0),
        ("tcp", OFFICE, PORT),
        ("tcp", RR, PORT),
        ("tcp", CLOSEST, PORT),
        ("tcp", OFFICE, 9),
        ("udp", OFFICE, PORT),
    )
    assert tried(home, *tries) == [*[REACHED] * 5, FAILED, REACHED]
    # A path that carries small packets alone.
    hub.run("ip", "link", "set", "oakwg0", "mtu", "600")
    small_only = tried(home, ("ping", OFFICE_NODE, 0), ("ping large", OFFICE_NODE, 0))
    assert small_only == [REACHED, FAILED]
    assert served.poll() is None


def test_what_is_in_force_is_told_and_not_what_was_meant(make_node: MakeNode) -> None:
    node = make_node("a")
    node.call("attach", "10.18.0.66")
    tables = (table(target("a", "10.18.0.66"), target("a", "10.18.0.67")),)
    node.apply(*tables)
    # The second one has no interface here, so it is in no map.
    assert [(lead.policy, lead.instances) for lead in node.look(*tables)] == [
        ("rr", {"10.18.0.66": 1.0}),
        ("closest", {"10.18.0.66": 1.0}),
    ]
    node.call("attach", "10.18.0.67")
    balanced, _ = node.look(*tables)
    assert balanced.instances == {"10.18.0.66": 0.5, "10.18.0.67": 0.5}
    empty = table(expected=1)
    node.apply(empty)
    assert [(lead.instances, lead.holds) for lead in node.look(empty)] == [({}, True)] * 2
