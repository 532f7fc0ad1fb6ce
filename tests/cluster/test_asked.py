"""Tables that a worker needs because it asked for an address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.model import messages as m
from oakctl.model import subjects
from oakctl.model.asking import AddressesAnswer, AddressesRequest
from oakctl.model.documents import ServiceTable
from oakctl.model.service import ServiceAddresses, ServiceSpec
from oakctl.orchestration.cluster import asked, tables
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.state import ServiceRecord, SettingsRecord, State, WorkerRecord
from oakctl.overlay import addressing
from tests.cluster.rig import Rig, Worker, running_rig, spec, until

REC, WEB = spec("rec", rr_ip="10.30.1.3"), spec("web", rr_ip="10.30.1.4")
CLOUDS = ServiceTable("app.ns.far.ns", "cloud", 7, ServiceAddresses("10.30.1.5", "10.30.1.6"))
STATE = replace(
    State("edge", SettingsRecord("rom"), addressing.worker_subnets("10.18.0.0/20")),
    services={each.job_name: ServiceRecord(each.job_name, each) for each in (REC, WEB)},
    workers={"w1": WorkerRecord("w1")},
    foreign={(CLOUDS.job_name, "cloud"): CLOUDS},
)


def at(wall: float) -> Now:
    return Now(wall, wall)


def test_what_was_asked_for_is_of_interest_for_a_while() -> None:
    state, known = asked.remember(STATE, "w1", ["10.30.1.3", "10.30.1.6", "10.30.9.9"], at(1000))
    assert known == {"10.30.1.3", "10.30.1.6"}
    assert tables.interest(state, "w1") == {REC.job_name, CLOUDS.job_name}
    assert asked.forget(state, at(1600)) is state
    state, _ = asked.remember(state, "w1", ["10.30.1.3"], at(1500))
    state = asked.forget(state, at(1601))
    assert tables.interest(state, "w1") == {REC.job_name}
    assert tables.interest(asked.forget(state, at(2101)), "w1") == frozenset()


def test_nothing_is_written_for_being_asked_again_soon() -> None:
    state, _ = asked.remember(STATE, "w1", ["10.30.1.3"], at(1000))
    assert asked.remember(state, "w1", ["10.30.1.3"], at(1100)) == (state, {"10.30.1.3"})
    assert asked.remember(state, "w1", ["10.30.9.9"], at(1100)) == (state, frozenset())
    assert asked.remember(state, "w9", ["10.30.1.3"], at(1100)) == (state, {"10.30.1.3"})


@pytest.mark.parametrize("jump", [1e6, -1e6])
def test_a_clock_that_jumps_keeps_nothing_for_ever(jump: float) -> None:
    state, _ = asked.remember(STATE, "w1", ["10.30.1.3"], at(2e6))
    assert not asked.forget(state, at(2e6 + jump)).workers["w1"].asked
    renewed, _ = asked.remember(state, "w1", ["10.30.1.3"], at(2e6 + jump))
    assert renewed.workers["w1"].asked == {"10.30.1.3": 2e6 + jump}


def test_a_worker_that_asks_for_all_there_is_has_the_newest() -> None:
    many = {
        f"app.ns.s{n}.ns": ServiceRecord(
            "x", spec(f"s{n}", rr_ip=f"10.30.{2 + n // 200}.{n % 200}")
        )
        for n in range(400)
    }
    state = replace(STATE, services=many)
    for n in range(400):
        state, _ = asked.remember(state, "w1", [f"10.30.{2 + n // 200}.{n % 200}"], at(1000 + n))
    kept = state.workers["w1"].asked
    assert len(kept) == asked.MOST_KEPT
    assert min(kept.values()) == 1000 + 400 - asked.MOST_KEPT


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as made:
        yield made


async def known(worker: Worker, *addresses: str) -> tuple[str, ...]:
    subject = subjects.ask(worker.name, subjects.ASK_ADDRESSES)
    return (await worker.ask(subject, AddressesRequest(addresses), AddressesAnswer)).known


async def test_who_asks_for_an_address_is_told_the_table(rig: Rig) -> None:
    one, two = await rig.join("w1"), await rig.join("w2")
    (place,) = await rig.deployed(REC)
    other = two if place.worker == "w1" else one

    def knows(service: ServiceSpec) -> bool:
        table = other.table(service)
        return table is not None and bool(table.targets)

    assert not knows(REC)
    assert await known(other, "10.30.1.3", "10.30.9.9") == ("10.30.1.3",)
    await until("it knows rec", lambda: knows(REC))
    rig.end_orchestrator()
    rig.start_orchestrator()
    revision = other.tables.revision
    await until("the new one has told its tables", lambda: other.tables.revision > revision)
    assert knows(REC)

    # Nobody has it here; its table comes from another cluster after it was asked for.
    assert await known(other, CLOUDS.addresses.closest_ip) == ()
    assert (await rig.root.ask(subjects.CTL_TABLE, CLOUDS, m.Answer)).ok
    await until(
        "it knows the other cluster's",
        lambda: [t for t in other.tables.tables if t.job_name == CLOUDS.job_name],
    )
