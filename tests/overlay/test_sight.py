"""What a node's overlay leads to, read from what is in force."""

from __future__ import annotations

from oakctl.model.service import ServiceAddresses
from oakctl.overlay import plan, sight
from oakctl.overlay.kernel.elements import Elements, leading, together
from oakctl.overlay.kernel.places import shared
from tests.overlay.test_plan import JOB, table, target

BALANCED, CLOSEST = "10.30.9.1", "10.30.9.2"


def test_only_addresses_that_a_service_has() -> None:
    assert sight.addresses_of(ServiceAddresses()) == {}
    assert sight.addresses_of(ServiceAddresses("10.30.9.1")) == {"rr": "10.30.9.1"}
    both = ServiceAddresses("10.30.9.1", "10.30.9.2")
    assert sight.addresses_of(both) == {"rr": "10.30.9.1", "closest": "10.30.9.2"}


def test_shares_are_those_of_the_maps_not_of_the_tables() -> None:
    weights = {"10.18.0.66": 2, "10.18.0.67": 1, "10.18.0.68": 1}
    maps = together(
        (
            leading(BALANCED, shared(weights), by_client=True),
            leading(CLOSEST, shared({"10.18.0.67": 1})),
        )
    )
    tables = (table(target(0, "w1")),)
    balanced, closest = sight.leads_of_maps(tables, maps)
    assert (balanced.policy, balanced.by_client) == ("rr", True)
    assert balanced.instances == {"10.18.0.66": 0.5, "10.18.0.67": 0.25, "10.18.0.68": 0.25}
    assert (closest.policy, closest.instances) == ("closest", {"10.18.0.67": 1.0})
    nothing = sight.leads_of_maps(tables, Elements(hold={BALANCED: ""}))
    assert [(lead.instances, lead.holds) for lead in nothing] == [({}, True), ({}, False)]


def test_a_relay_leads_to_what_it_was_told_and_can_reach() -> None:
    tables = (
        table(
            target(0, "w2"),
            target(1, "w1", weight=3),
            target(2, "w3", loopback_number=None),
            target(3, "w1", draining=True),
        ),
    )
    listeners = plan.desired_overlay("w1", 2, tables).listeners
    balanced, closest = sight.leads_of_listeners(tables, listeners)
    assert balanced.instances == {"10.18.0.66": 0.25, "10.18.0.67": 0.75}
    assert closest.instances == {"10.18.0.67": 1.0}
    assert JOB in {listener.service for listener in listeners}


def test_measures_name_each_node_once() -> None:
    found = sight.reach({"10.18.0.65"}, {"10.18.0.129": 1.23456})
    assert [(each.address, each.reachable, each.round_trip_ms) for each in found] == [
        ("10.18.0.129", True, 1.235),
        ("10.18.0.65", False, -1.0),
    ]
