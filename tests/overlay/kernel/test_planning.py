"""What one node's rule set shall hold."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.service import Port, ServiceAddresses
from oakctl.overlay.kernel import planning, ranking, taken
from oakctl.overlay.kernel.elements import Elements, difference
from oakctl.overlay.kernel.ledger import Ledger
from oakctl.overlay.kernel.planning import Leads, Place, Sight
from oakctl.overlay.kernel.ruleset import Networks

from .test_elements import executed

PLACE = Place("w1", "edge", Networks("10.18.0.64/26"))
HERE, HERE_TOO, THERE, FAR = "10.18.0.66", "10.18.0.67", "10.18.0.130", "10.18.16.66"
W2, W3 = "10.18.0.129", "10.18.16.65"
RR, CLOSEST, LEAST = "10.30.9.1", "10.30.9.2", "10.30.9.5"
KEY = re.compile(r'[0-9a-z" .]+')

WORKERS = st.sampled_from(["w1", "w2", "w3"])
GATEWAYS = st.sampled_from(["10.18.0.1", "10.18.0.129", "10.18.0.193"])
TARGETS = st.builds(
    TableTarget,
    number=st.integers(0, 9),
    address=st.ip_addresses(v=4, network="10.18.0.0/24").map(str),
    worker=WORKERS,
    cluster=st.sampled_from(["edge", "cloud"]),
    node_address=st.just(""),
    ready=st.booleans(),
    draining=st.booleans(),
    weight=st.integers(0, 3),
    spare=st.integers(0, 9),
)
TABLES = st.builds(
    ServiceTable,
    job_name=st.sampled_from(["a.n.a.n", "b.n.b.n", "c.n.c.n"]),
    cluster=st.just("edge"),
    generation=st.just(1),
    addresses=st.builds(
        ServiceAddresses,
        rr_ip=st.sampled_from(["", RR, "10.30.9.3"]),
        closest_ip=st.sampled_from(["", CLOSEST, "10.30.9.4"]),
        least_ip=st.sampled_from(["", LEAST, "10.30.9.6"]),
    ),
    ports=st.just((Port(80, 8080),)),
    targets=st.lists(TARGETS, max_size=5).map(tuple),
    expected=st.integers(0, 2),
    affinity=st.sampled_from(["", "client"]),
)
SIGHTS = st.builds(
    Sight,
    local=st.frozensets(st.ip_addresses(v=4, network="10.18.0.64/26").map(str), max_size=3),
    down=st.frozensets(st.ip_addresses(v=4, network="10.18.0.64/26").map(str), max_size=3),
    unreachable=st.frozensets(GATEWAYS, max_size=2),
    round_trips_ms=st.dictionaries(GATEWAYS, st.floats(0, 500)),
)


def target(address: str, worker: str, number: int = 0, **changes: object) -> TableTarget:
    return TableTarget(number, address, worker, "edge", "", **changes)  # type: ignore[arg-type]


def table(*targets: TableTarget, **changes: object) -> ServiceTable:
    made = ServiceTable("a.n.a.n", "edge", 1, ServiceAddresses(RR, CLOSEST), (), targets)
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Wanted:
    """All that a node goes by."""

    elements: Elements
    leads: Mapping[str, Leads]


def wanted(place: Place, tables: Sequence[ServiceTable], sight: Sight) -> Wanted:
    ledger = Ledger(place)
    ledger.follow(tables, sight)
    return Wanted(ledger.whole(), ledger.leads)


def reached(found: Wanted, address: str) -> set[str]:
    """The instances that new flows to an address get."""
    shared = {v for k, v in found.elements.slots.items() if k.startswith(f"{address} .")}
    single = found.elements.one.get(address)
    return shared | ({single} if single else set())


@given(st.lists(TABLES, max_size=4), SIGHTS)
def test_a_new_flow_is_never_one_that_has_to_end(tables: list[ServiceTable], sight: Sight) -> None:
    found = wanted(PLACE, tables, sight)
    for address, leads in found.leads.items():
        assert reached(found, address) <= leads.tcp & leads.udp
        nowhere = address in found.elements.hold, address in found.elements.refused
        assert sum(nowhere) == (not reached(found, address))
    known = {target.address for table in tables for target in table.targets}
    assert all(leads.tcp | leads.udp <= known for leads in found.leads.values())


@given(st.lists(TABLES, max_size=4, unique_by=lambda t: t.job_name), SIGHTS, st.randoms())
def test_the_order_of_tables_decides_nothing(
    tables: list[ServiceTable], sight: Sight, chance: random.Random
) -> None:
    expected = wanted(PLACE, tables, sight)
    chance.shuffle(tables)
    assert wanted(PLACE, tables, sight) == expected


@given(st.text(), st.text(), st.text())
def test_what_is_no_address_gets_into_no_command(rr: str, closest: str, address: str) -> None:
    odd = table(target(address, "w2"), addresses=ServiceAddresses(rr, closest))
    found = wanted(PLACE, [odd, table(target(address, "w1"))], Sight())
    for content in vars(found.elements).values():
        assert all(KEY.fullmatch(f"{key} {value}") for key, value in content.items())
    assert not planning.is_within("10.30.1.1 } ; flush ruleset", "10.30.0.0/16")


def test_only_who_takes_new_flows_gets_them_and_the_others_keep_theirs() -> None:
    targets = (
        target(THERE, "w2"),
        target("10.18.0.131", "w2", 1, draining=True),
        target("10.18.0.132", "w2", 2, ready=False),
    )
    found = wanted(PLACE, [table(*targets)], Sight())
    assert reached(found, RR) == reached(found, CLOSEST) == {THERE}
    assert len(found.leads[RR].tcp) == len(found.leads[RR].udp) == 3
    assert found.leads[CLOSEST].udp == {THERE}


def test_an_instance_here_without_its_interface_is_gone() -> None:
    tables = [table(target(HERE, "w1"), target(THERE, "w2"))]
    assert reached(wanted(PLACE, tables, Sight()), RR) == {THERE}
    found = wanted(PLACE, tables, Sight(local=frozenset({HERE})))
    assert reached(found, RR) == {HERE, THERE}
    assert reached(found, CLOSEST) == {HERE}
    assert found.elements.hairpin == {f"{HERE} . {HERE}": ""}
    assert found.elements.sources == {f'"oakv0a120042" . {HERE}': ""}


def test_nodes_that_do_not_answer_are_left_out_unless_none_does() -> None:
    tables = [table(target(THERE, "w2"), target(FAR, "w3"), expected=2)]
    found = wanted(PLACE, tables, Sight(unreachable=frozenset({W2})))
    assert reached(found, RR) == {FAR}
    assert found.leads[RR].tcp == {FAR}
    all_dead = wanted(PLACE, tables, Sight(unreachable=frozenset({W2, W3})))
    assert reached(all_dead, RR) == {THERE, FAR}


def test_addresses_wait_while_a_replacement_is_on_its_way() -> None:
    assert wanted(PLACE, [table(expected=1)], Sight()).elements.hold == {RR: "", CLOSEST: ""}
    assert wanted(PLACE, [table(expected=0)], Sight()).elements.hold == {}


def test_of_two_services_with_one_address_the_first_has_it() -> None:
    tables = [table(target(THERE, "w2"), job_name="z.n.z.n"), table(target(FAR, "w3"))]
    assert reached(wanted(PLACE, tables, Sight()), RR) == {FAR}


def test_published_ports_lead_to_instances_here_only() -> None:
    ports = (Port(80, 8080), Port(53, 5353, "udp"), Port(90))
    tables = [table(target(HERE, "w1"), target(THERE, "w2"), ports=ports)]
    found = wanted(PLACE, tables, Sight(local=frozenset({HERE})))
    assert found.elements.ports == {
        "tcp . 8080": f"{HERE} . 80",
        "udp . 5353": f"{HERE} . 53",
    }


def test_closest_is_here_then_by_round_trip_then_own_cluster() -> None:
    there, far = target(THERE, "w2"), replace(target(FAR, "v1"), cluster="cloud")
    here = target(HERE, "w1")

    def nearest(*targets: TableTarget, chosen: str = "", w2: float = -1, v1: float = -1) -> str:
        measured = {node: ms for node, ms in ((W2, w2), (W3, v1)) if ms >= 0}
        return ranking.closest(targets, "w1", "edge", measured, chosen)

    assert nearest() == ""
    assert nearest(far, there, here, w2=0.1, v1=0.1) == HERE
    assert nearest(far, there) == THERE
    assert nearest(far, there, v1=3.0, w2=40.0) == FAR
    assert nearest(far, there, v1=3.0, w2=3.9, chosen=THERE) == THERE  # not worth a change
    assert nearest(far, there, v1=100.0, w2=119.0, chosen=THERE) == THERE
    assert nearest(far, there, v1=100.0, w2=121.0, chosen=THERE) == FAR
    assert nearest(far, v1=100.0, chosen=THERE) == FAR


def test_neighbours_are_the_other_nodes_with_instances() -> None:
    tables = [table(target(HERE, "w1"), target(THERE, "w2"), target(FAR, "w3"), target("x", "w4"))]
    ledger = Ledger(PLACE)
    ledger.follow(tables, Sight())
    assert ledger.neighbours() == {W2, W3}
    ledger.follow([], Sight())
    assert ledger.neighbours() == frozenset()


STEPS = st.lists(st.tuples(st.lists(TABLES, max_size=4, unique_by=lambda t: t.job_name), SIGHTS))


@given(STEPS)
def test_what_is_told_step_by_step_is_what_would_be_told_at_once(
    steps: list[tuple[list[ServiceTable], Sight]],
) -> None:
    ledger = Ledger(PLACE)
    content: dict[str, dict[str, str]] = {name: {} for name in vars(Elements())}
    for tables, sight in steps:
        leads = dict(ledger.leads)
        old, new, moved = ledger.follow(tables, sight)
        content = executed(difference(old, new), content)
        assert Elements(**content) == ledger.whole()
        assert moved or leads == ledger.leads
        at_once = wanted(PLACE, tables, sight)
        for name in ("hold", "refused", "hairpin", "sources", "ports"):
            assert content[name] == vars(at_once.elements)[name]
        # Which instance has which place, and which of two near ones is in force, is by history.
        found = Wanted(ledger.whole(), ledger.leads)
        assert found.leads.keys() == at_once.leads.keys()
        for address, lead in at_once.leads.items():
            assert found.leads[address].tcp == lead.tcp
            assert bool(reached(found, address)) == bool(reached(at_once, address))
            if address == RR:
                assert reached(found, RR) == reached(at_once, RR)


def test_policies_of_one_service_stand_side_by_side() -> None:
    addresses = ServiceAddresses(RR, CLOSEST, LEAST)
    busy = target(THERE, "w2", weight=2, spare=1)
    idle = target(FAR, "w3", 1, weight=1, spare=9)
    found = wanted(PLACE, [table(busy, idle, addresses=addresses)], Sight())

    def shares(address: str) -> Counter[str]:
        slots = found.elements.slots
        return Counter(value for key, value in slots.items() if key.startswith(f"{address} ."))

    assert shares(RR) == {THERE: 40, FAR: 20}
    assert shares(LEAST) == {THERE: 6, FAR: 54}
    assert found.elements.one == {CLOSEST: THERE}
    assert found.elements.sticky == {}


def test_affinity_is_of_addresses_that_lead_to_several() -> None:
    two = table(target(THERE, "w2"), target(FAR, "w3"), affinity="client")
    assert wanted(PLACE, [two], Sight()).elements.sticky == {RR: ""}
    one = replace(two, targets=two.targets[:1])
    assert wanted(PLACE, [one], Sight()).elements.sticky == {}


def test_only_what_depends_on_a_node_is_looked_at_again() -> None:
    many = [
        table(
            target(f"10.18.{number}.2", "w9"),
            job_name=f"s{number}.n.s.n",
            addresses=ServiceAddresses(f"10.30.{number}.1"),
        )
        for number in range(1, 100)
    ]
    ledger = Ledger(PLACE)
    ledger.follow(many, Sight())
    seen = Sight(unreachable=frozenset({"10.18.5.1"}), round_trips_ms={"10.18.7.1": 3.0})
    old, new, moved = ledger.follow(many, seen)
    assert set(old.one) == set(new.one) == {"10.30.5.1", "10.30.7.1"}
    assert not moved


def test_what_has_ended_here_is_out_at_once_and_its_tcp_is_let_end() -> None:
    tables = [table(target(HERE, "w1"), target(THERE, "w2", 1), expected=2)]
    sight = Sight(local=frozenset({HERE}), down=frozenset({HERE}))
    found = wanted(PLACE, tables, sight)
    assert reached(found, RR) == reached(found, CLOSEST) == {THERE}
    assert found.leads[RR] == Leads(frozenset({HERE, THERE}), frozenset({THERE}))
    alone = wanted(PLACE, [replace(tables[0], targets=tables[0].targets[:1])], sight)
    assert alone.elements.hold == {RR: "", CLOSEST: ""}


def test_a_full_subnet_is_told() -> None:
    assert list(taken.full("10.18.0.64/26", 60)) == []
    assert list(taken.full("10.18.0.64/26", 61)) == [
        "subnet 10.18.0.64/26 is full: 61 instances, no room for another here"
    ]
