"""A cluster's tables: who is a target, and whether calls may wait for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.node import Usage
from oakctl.model.overlay import OverlayNode
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceAddresses
from oakctl.orchestration.cluster import spare
from oakctl.orchestration.cluster.liveness import Presence
from oakctl.orchestration.cluster.state import (
    InstanceRecord,
    Key,
    ServiceRecord,
    SettingsRecord,
    State,
    WorkerRecord,
)
from oakctl.orchestration.cluster.tables import for_worker, own_tables
from oakctl.overlay import addressing
from tests.cluster.rig import facts, spec

REC = spec("rec", memory_mb=100)
EMPTY = State("edge", SettingsRecord("rom"), addressing.worker_subnets("10.18.0.0/20"))


def state_with(*records: InstanceRecord) -> State:
    service = ServiceRecord(REC.job_name, REC)
    return replace(
        EMPTY,
        services={REC.job_name: service},
        instances={record.key: record for record in records},
    )


@pytest.mark.parametrize(
    ("state", "stopping", "expected"),
    [
        (InstanceState.CLUSTER_SCHEDULED, False, 1),
        (InstanceState.CREATING, False, 1),
        (InstanceState.FAILED, False, 1),  # it is restarted
        (InstanceState.RUNNING, True, 0),
        (InstanceState.COMPLETED, False, 0),
    ],
)
def test_calls_wait_for_an_instance_that_is_to_be(
    state: InstanceState, stopping: bool, expected: int
) -> None:
    record = InstanceRecord(REC.job_name, 0, 1, 0.0, state=state, stopping=stopping)
    table = own_tables(state_with(record))[REC.job_name]
    assert (table.targets, table.expected) == ((), expected)


def running(number: int, worker: str) -> InstanceRecord:
    seen = ObservedInstance(REC.job_name, number, 1, InstanceState.RUNNING, 0.0, ready=True)
    return InstanceRecord(
        *(REC.job_name, number, 1, 0.0, InstanceState.RUNNING, worker, f"10.18.0.{number}"),
        observed=seen,
    )


def test_targets_have_their_share_by_worker_then_by_cluster() -> None:
    workers = {name: WorkerRecord(name) for name in ("w1", "w2")}
    state = replace(state_with(running(0, "w1"), running(1, "w2")), workers=workers)
    for weights, expected in (
        ({}, [1, 1]),
        ({"edge": 3}, [3, 3]),
        ({"edge": 3, "w2": 0, "cloud": 9}, [3, 0]),
    ):
        service = ServiceRecord(REC.job_name, replace(REC, weights=weights, affinity="client"))
        table = own_tables(state.with_service(service))[REC.job_name]
        assert [target.weight for target in table.targets] == expected
        assert table.affinity == "client"


def test_what_instances_have_to_spare_matters_only_to_an_address_for_it() -> None:
    workers = {name: WorkerRecord(name) for name in ("w1", "w2")}
    state = replace(state_with(running(0, "w1"), running(1, "w2")), workers=workers)
    spares = {(REC.job_name, 0): 3}
    plain = own_tables(state, spares)[REC.job_name]
    assert [target.spare for target in plain.targets] == [1, 1]
    asked = replace(REC, addresses=ServiceAddresses(least_ip="10.30.1.9"))
    table = own_tables(state.with_service(ServiceRecord(REC.job_name, asked)), spares)[REC.job_name]
    assert [target.spare for target in table.targets] == [3, 10]


def test_load_is_the_nodes_or_what_is_taken_of_what_was_asked_for() -> None:
    asked = replace(
        REC, requests=Resources(vcpus=0.5), addresses=ServiceAddresses(least_ip="10.30.1.9")
    )
    state = state_with(running(0, "w1"), running(1, "w2"), running(2, "w3"))
    busy = Presence(0.0, "ready", usage=Usage(cpu_percent=80.0))
    cpu = {(REC.job_name, 1): 25.0, (REC.job_name, 2): 400.0}
    assert spare.loads(state, {"w1": busy}, cpu, {}) == {}
    state = state.with_service(ServiceRecord(REC.job_name, asked))
    found = spare.loads(state, {"w1": busy}, cpu, {})
    assert list(found.values()) == [0.8, 0.5, 1.0]
    assert list(spare.shares(found, {}).values()) == [2, 5, 0]
    calmer = spare.loads(state, {}, {}, found)
    assert list(calmer.values()) == [0.4, 0.25, 0.5]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_share_is_kept_until_it_is_off_by_most_of_a_step(loads: list[float]) -> None:
    key = (REC.job_name, 0)
    share: dict[Key, int] = {}
    for load in loads:
        before, share = share, spare.shares({key: load}, share)
        assert 0 <= share[key] <= spare.MOST
        assert abs(share[key] - spare.MOST * (1 - load)) <= 0.76
        if before and share != before:
            assert abs(before[key] - spare.MOST * (1 - load)) > 0.74


def test_nodes_of_the_kernel_overlay_know_each_other_and_others_know_none() -> None:
    def worker(name: str, subnet: str, **changes: str) -> WorkerRecord:
        return WorkerRecord(name, subnet=subnet, facts=replace(facts(), **changes))  # type: ignore[arg-type]

    one = worker("w1", "10.18.0.0/26", tunnel_key="k1", address="192.0.2.1")
    two = worker("w2", "10.18.0.64/26", tunnel_key="k2", address="")
    plain = worker("w3", "10.18.0.128/26")
    state = replace(EMPTY, workers={each.name: each for each in (two, plain, one)})
    assert for_worker(state, "w1", {}, 1).nodes == (
        OverlayNode("w1", "edge", "10.18.0.0/26", "k1", "192.0.2.1:51820", relay=True),
        OverlayNode("w2", "edge", "10.18.0.64/26", "k2"),
    )
    assert for_worker(state, "w3", {}, 1).nodes == ()
