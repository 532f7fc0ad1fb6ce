"""What one node's overlay shall be."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.resources import Location
from oakctl.model.service import Port, ServiceAddresses
from oakctl.overlay import plan

JOB = "ar.ns.rec.ns"
MUNICH, AUGSBURG, HAMBURG = Location(48.1, 11.6), Location(48.4, 10.9), Location(53.6, 10.0)


def target(number: int, worker: str, cluster: str = "edge", **changes: object) -> TableTarget:
    fields: dict[str, object] = {"loopback_number": 2 * number + 2, **changes}
    return TableTarget(number, f"10.18.0.{number + 66}", worker, cluster, "", **fields)  # type: ignore[arg-type]


def table(
    *targets: TableTarget,
    cluster: str = "edge",
    generation: int = 1,
    ports: tuple[Port, ...] = (Port(5005, protocol="udp"),),
    job: str = JOB,
    addresses: ServiceAddresses = ServiceAddresses("10.30.9.1", "10.30.9.2"),  # noqa: B008
) -> ServiceTable:
    return ServiceTable(job, cluster, generation, addresses, ports, targets)


def order(overlay: plan.NodeOverlay, policy: str) -> list[str]:
    found = [item for item in overlay.listeners if item.policy == policy]
    assert len(found) == 1
    return [t.instance.rpartition(".")[2] for t in found[0].targets]


def test_a_listener_for_each_address_and_port() -> None:
    two = (Port(80), Port(5005, protocol="udp"))
    overlay = plan.desired_overlay("w1", 2, (table(target(0, "w2"), ports=two),))
    assert [
        (item.address, item.port, item.protocol, item.policy) for item in overlay.listeners
    ] == [
        ("10.30.9.1", 80, "tcp", "rr"),
        ("10.30.9.1", 5005, "udp", "rr"),
        ("10.30.9.2", 80, "tcp", "closest"),
        ("10.30.9.2", 5005, "udp", "closest"),
    ]
    assert overlay.listeners[0].targets == (
        plan.Target(f"{JOB}.instance.0", "10.18.0.66", 80, True, 2),
    )


def test_tables_of_clusters_are_joined_and_late_ones_ignored() -> None:
    tables = (
        table(target(3, "v1", "cloud"), cluster="cloud"),
        table(target(1, "w1"), generation=5),
        table(target(0, "w1"), target(2, "w1"), generation=4),
    )
    assert order(plan.desired_overlay("w9", 2, tables), "rr") == ["3", "1"]


def test_who_takes_new_flows() -> None:
    targets = (target(0, "w1"), target(1, "w1", ready=False), target(2, "w1", draining=True))
    overlay = plan.desired_overlay("w1", 2, (table(*targets),))
    assert [t.takes_new for t in overlay.listeners[0].targets] == [True, False, False]


def test_closest_is_here_then_near_then_own_cluster() -> None:
    targets = (
        target(0, "w1", "cloud", location=HAMBURG),
        target(1, "w2", location=AUGSBURG),
        target(2, "w3", "cloud"),
        target(3, "w4"),
        target(4, "w1", location=HAMBURG),
    )
    overlay = plan.desired_overlay("w1", 2, (table(*targets),), cluster="edge", location=MUNICH)
    assert order(overlay, "closest") == ["4", "1", "3", "0", "2"]
    blind = plan.desired_overlay("w9", 2, (table(*targets),), cluster="edge")
    assert order(blind, "closest") == ["1", "3", "4", "0", "2"]


def test_a_port_of_the_node_leads_to_instances_on_it() -> None:
    published = (Port(80, host=8080),)
    tables = (table(target(0, "w1"), target(1, "w2"), ports=published),)
    local = [item for item in plan.desired_overlay("w1", 2, tables).listeners if not item.address]
    assert [(item.port, [t.instance[-1] for t in item.targets]) for item in local] == [
        (8080, ["0"])
    ]
    assert all(item.address for item in plan.desired_overlay("w3", 2, tables).listeners)


def test_of_two_services_with_one_address_the_first_has_it() -> None:
    tables = (table(target(0, "w1"), job="z.ns.s.ns"), table(target(1, "w1"), job="a.ns.s.ns"))
    overlay = plan.desired_overlay("w1", 2, tables)
    assert {item.service for item in overlay.listeners} == {"a.ns.s.ns"}


def test_no_targets_is_a_listener_with_none() -> None:
    assert plan.desired_overlay("w1", 2, (table(),)).listeners[0].targets == ()


@given(st.randoms(use_true_random=False))
def test_the_order_of_tables_decides_nothing(chance: random.Random) -> None:
    tables = [
        table(target(0, "w1"), target(1, "w2")),
        table(target(2, "v1", "cloud"), cluster="cloud"),
        table(target(0, "w1"), job="other.ns.s.ns"),
    ]
    expected = plan.desired_overlay("w1", 2, tuple(tables), cluster="edge")
    chance.shuffle(tables)
    assert plan.desired_overlay("w1", 2, tuple(tables), cluster="edge") == expected


def test_addresses_on_a_host() -> None:
    assert plan.local_address(12, "10.30.9.1") == "127.12.9.1"
    assert plan.local_address(12, "10.18.3.66") == "127.13.3.66"
    with pytest.raises(ValueError, match=r"10\.19\.0\.1"):
        plan.local_address(12, "10.19.0.1")
