"""The relay's decisions, without sockets."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.service import Port, ServiceAddresses
from oakctl.overlay import plan
from oakctl.overlay.loopback.driver import relay_table
from oakctl.overlay.loopback.table import (
    Endpoint,
    Key,
    Listener,
    Malformed,
    Target,
    Turns,
    difference,
    parse,
)

endpoints = st.lists(st.integers(1, 9), unique=True, max_size=6)


def listener(*ports: int, policy: str = "rr", closed: tuple[int, ...] = ()) -> Listener:
    targets = tuple(Target(str(p), ("127.0.0.1", p), p not in closed) for p in ports)
    return Listener("a.b.c.d", Key("127.2.9.1", 80, "udp"), policy, targets)


def ports(found: list[Endpoint | None]) -> list[int]:
    return [endpoint[1] for endpoint in found if endpoint is not None]


@given(endpoints.filter(bool), st.integers(0, 20))
def test_any_n_flows_in_a_row_go_to_n_targets(some: list[int], skipped: int) -> None:
    turns, where = Turns(), listener(*some)
    for _ in range(skipped):
        turns.next(where)
    found = ports([turns.next(where) for _ in some])
    assert sorted(found) == sorted(some)


@given(st.lists(st.tuples(endpoints, endpoints), max_size=8))
def test_turns_stay_within_the_open_targets_whatever_comes(
    steps: list[tuple[list[int], list[int]]],
) -> None:
    turns = Turns()
    for some, closed in steps:
        where = listener(*some, closed=tuple(closed))
        turns.forget(where)
        able = set(some) - set(closed)
        for _ in range(3):
            chosen = turns.next(where)
            assert (chosen is None) == (not able)
            assert chosen is None or chosen[1] in able


def weighted(weights: dict[int, int], *, by_client: bool = False) -> Listener:
    targets = tuple(Target(str(p), ("127.0.0.1", p), True, w) for p, w in weights.items())
    return Listener("a.b.c.d", Key("127.2.9.1", 80, "tcp"), "rr", targets, by_client)


WEIGHTS = st.dictionaries(st.integers(1, 9), st.integers(0, 6), min_size=1)


@given(WEIGHTS)
def test_flows_are_shared_in_proportion_to_weights(weights: dict[int, int]) -> None:
    turns, where = Turns(), weighted(weights)
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    total = sum(weights.values())
    found = Counter(ports([turns.next(where) for _ in range(10 * total)]))
    assert {port: found[port] for port in weights} == pytest.approx(
        {port: 10 * weight for port, weight in weights.items()}, abs=1
    )


@given(st.sets(st.integers(1, 9), min_size=2), st.data())
def test_a_client_stays_with_its_instance_while_that_lives(
    some: set[int], data: st.DataObject
) -> None:
    clients = [f"127.3.0.{number}" for number in range(1, 200)]

    def chosen(among: set[int]) -> dict[str, Endpoint | None]:
        where = weighted(dict.fromkeys(sorted(among), 1), by_client=True)
        return {client: Turns().next(where, client=client) for client in clients}

    before = chosen(some)
    assert len(set(before.values())) == len(some)
    gone = data.draw(st.sampled_from(sorted(some)))
    after = chosen(some - {gone})
    assert {c for c in clients if after[c] != before[c]} == {
        c for c in clients if before[c] == ("127.0.0.1", gone)
    }


def test_a_new_target_is_next_and_then_takes_its_turn() -> None:
    turns = Turns()
    assert ports([turns.next(listener(1, 2)) for _ in range(4)]) == [1, 2, 1, 2]
    assert ports([turns.next(listener(1, 2, 3)) for _ in range(6)]) == [3, 1, 2, 3, 1, 2]


def test_tried_targets_are_left_out() -> None:
    turns, where = Turns(), listener(1, 2)
    assert turns.next(where, {("127.0.0.1", 1)}) == ("127.0.0.1", 2)
    assert turns.next(where, {("127.0.0.1", 1), ("127.0.0.1", 2)}) is None


def test_closest_is_the_first_that_is_open() -> None:
    turns = Turns()
    assert ports([turns.next(listener(1, 2, policy="closest", closed=(1,)))] * 2) == [2, 2]


@pytest.mark.parametrize(
    ("where", "port", "moves"),
    [
        (listener(1, 2), 1, False),
        (listener(2, 1), 1, False),
        (listener(2), 1, True),
        (listener(), 1, True),
        (listener(1, 2, closed=(1,)), 1, True),
        (listener(1, 2, closed=(1, 2)), 1, False),
        (listener(1, 2, policy="closest"), 2, True),
        (listener(1, 2, policy="closest", closed=(1,)), 2, False),
    ],
)
def test_when_datagrams_go_elsewhere(where: Listener, port: int, moves: bool) -> None:
    assert where.moves(("127.0.0.1", port)) is moves


keys = st.builds(
    Key, st.sampled_from(["127.2.9.1", "127.2.9.2"]), st.integers(1, 3), st.just("tcp")
)
tables = st.dictionaries(keys, st.tuples(endpoints, st.sampled_from(["rr", "closest"])), max_size=6)


@given(tables, tables)
def test_following_the_difference_leads_to_the_new_table(
    before: dict[Key, tuple[list[int], str]], after: dict[Key, tuple[list[int], str]]
) -> None:
    def made(data: dict[Key, tuple[list[int], str]]) -> dict[Key, Listener]:
        return {
            key: Listener("s", key, policy, listener(*some).targets)
            for key, (some, policy) in data.items()
        }

    current, wanted = made(before), made(after)
    found = difference(current, wanted.values())
    for key in found.closed:
        del current[key]
    for item in found.opened:
        assert item.key not in current
        current[item.key] = item
    for item in found.changed:
        assert current[item.key] != item
        current[item.key] = item
    assert current == wanted


def test_what_the_driver_writes_the_relay_understands() -> None:
    targets = (
        TableTarget(0, "10.18.0.66", "w1", "edge", "", loopback_number=4),
        TableTarget(1, "10.18.0.67", "w1", "edge", "", ready=False, loopback_number=4),
        TableTarget(2, "10.18.1.66", "real", "edge", "", loopback_number=None),
    )
    table = ServiceTable(
        "a.b.c.d", "edge", 1, ServiceAddresses("10.30.9.1", ""), (Port(80, host=8080),), targets
    )
    overlay = plan.desired_overlay("w1", 4, (table,))
    text = json.dumps(relay_table(overlay, 4))
    to = (
        Target("a.b.c.d.instance.0", ("127.5.0.66", 80), True),
        Target("a.b.c.d.instance.1", ("127.5.0.67", 80), False),
    )
    assert parse(text, 4) == (
        Listener("a.b.c.d", Key("127.4.0.1", 8080, "tcp"), "rr", to),
        Listener("a.b.c.d", Key("127.4.9.1", 80, "tcp"), "rr", to),
    )


def spoilt(**changes: object) -> str:
    good = {
        "service": "s",
        "address": "127.2.9.1",
        "port": 80,
        "protocol": "tcp",
        "policy": "rr",
        "targets": [{"instance": "i", "address": "127.3.0.2", "port": 80, "takes_new": True}],
    }
    return json.dumps({"number": 2, "listeners": [{**good, **changes}]})  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "3",
        '{"number": 2}',
        spoilt(port=0),
        spoilt(port=65536),
        spoilt(address="localhost"),
        spoilt(address="127.2.9.256"),
        spoilt(protocol="sctp"),
        spoilt(policy="random"),
        spoilt(targets=[{}]),
        json.dumps({"number": 2, "listeners": json.loads(spoilt())["listeners"] * 2}),
    ],
)
def test_a_spoilt_file_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text, 2)


def test_another_hosts_file_is_refused() -> None:
    assert parse(spoilt(), 2)
    with pytest.raises(Malformed, match="number 2, not 4"):
        parse(spoilt(), 4)
