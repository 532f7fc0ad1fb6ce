"""A cluster's tables: who is a target, and whether calls may wait for one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.model.instance import InstanceState
from oakctl.orchestration.cluster.state import InstanceRecord, ServiceRecord, SettingsRecord, State
from oakctl.orchestration.cluster.tables import own_tables
from oakctl.overlay import addressing
from tests.cluster.rig import spec

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
