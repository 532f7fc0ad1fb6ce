"""A cluster's tables: who is a target, and whether calls may wait for one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.overlay import OverlayNode
from oakctl.orchestration.cluster.state import (
    InstanceRecord,
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
