"""Where nodes of the overlay may be sent to, and which one passes on for the others."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.node import NodeFacts
from oakctl.orchestration.cluster import overlay_nodes
from oakctl.orchestration.cluster.state import SettingsRecord, State, WorkerRecord
from oakctl.overlay import addressing
from tests.cluster.rig import facts

PLAIN = replace(facts(), tunnel_key="key", address="192.168.1.5", seen_address="192.168.1.5")
BEHIND = replace(PLAIN, seen_address="203.0.113.9")
PUBLIC = replace(PLAIN, address="8.8.8.8", seen_address="8.8.8.8")


def test_who_is_behind_a_router_claims_no_address_of_its_own() -> None:
    assert overlay_nodes.endpoint(PLAIN) == "192.168.1.5:51820"
    assert overlay_nodes.endpoint(replace(PLAIN, tunnel_port=51821)) == "192.168.1.5:51821"
    assert overlay_nodes.endpoint(replace(PLAIN, seen_address="")) == "192.168.1.5:51820"
    assert overlay_nodes.endpoint(BEHIND) == ""
    assert overlay_nodes.endpoint(replace(PLAIN, address="fd00::5", seen_address="")) == ""
    declared = replace(BEHIND, tunnel_endpoint="203.0.113.9:4000")
    assert overlay_nodes.endpoint(declared) == "203.0.113.9:4000"


def test_there_is_a_relay_where_one_is_meant_or_needed() -> None:
    meant = replace(PLAIN, relay=True)
    assert overlay_nodes.relay({"a": PLAIN, "b": meant, "c": meant}) == "b"
    assert overlay_nodes.relay({"a": PLAIN, "b": PLAIN}) == "", "they reach each other"
    assert overlay_nodes.relay({"a": BEHIND, "b": PLAIN, "c": PUBLIC}) == "c"
    assert overlay_nodes.relay({"a": BEHIND, "b": PLAIN, "c": PLAIN}) == "b"
    unreached = replace(BEHIND, relay=True)
    assert overlay_nodes.relay({"a": unreached, "b": PLAIN}) == "b"
    assert overlay_nodes.relay({"a": BEHIND}) == overlay_nodes.relay({}) == ""


@given(st.lists(st.sampled_from([PLAIN, BEHIND, PUBLIC, replace(PLAIN, relay=True), facts()])))
def test_one_relay_at_most_and_it_can_be_sent_to(found: list[NodeFacts]) -> None:
    workers = {
        f"w{n}": WorkerRecord(f"w{n}", subnet=f"10.18.{n}.0/26", facts=each)
        for n, each in enumerate(found)
    }
    subnets = addressing.worker_subnets("10.18.0.0/20")
    told = overlay_nodes.nodes(State("edge", SettingsRecord("rom"), subnets, workers))
    relays = [node for node in told if node.relay]
    assert len(told) == sum(bool(each.tunnel_key) for each in found)
    assert all(relay.endpoint for relay in relays)
    lost = [node for node in told if not node.endpoint]
    assert len(relays) == 1 or (not relays and (not lost or len(lost) == len(told)))
