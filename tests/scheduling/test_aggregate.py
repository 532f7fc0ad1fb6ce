"""What a cluster says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given

from oakctl.model import wire
from oakctl.model.messages import Aggregate, Slot
from oakctl.model.node import Usage
from oakctl.model.resources import Location, Resources
from oakctl.orchestration.scheduling.aggregate import summarise
from oakctl.orchestration.scheduling.cluster import Candidate

from .samples import AUGSBURG, MUNICH, fleets, worker


def test_sums_means_and_names() -> None:
    found = summarise(
        "edge",
        [
            worker("b", usage=Usage(cpu_percent=10, memory_percent=40), reserved=Resources(1, 100)),
            worker("a", usage=Usage(cpu_percent=30, memory_percent=40)),
            worker("c", status="dead"),
            worker("d", cordoned=True),
        ],
        "spread",
        None,
        5.0,
    )
    assert found.worker_names == ("a", "b")
    assert found.workers == 2
    assert found.capacity == Resources(8, 2000, 20_000)
    assert found.free == Resources(7, 1900, 20_000)
    assert (found.cpu_percent_mean, found.cpu_percent_stddev) == (20, 10)
    assert (found.memory_percent_mean, found.memory_percent_stddev) == (40, 0)
    assert (found.policy, found.sent_at, found.runtimes) == ("spread", 5.0, ("process",))
    assert found.location is None


def test_slots_by_architecture_and_accelerator() -> None:
    found = summarise(
        "edge",
        [
            worker("a", Resources(4, 1000)),
            worker("b", Resources(2, 2000, vgpus=1)),
            worker("c", Resources(1, 500), architecture="aarch64"),
        ],
        "rom",
        None,
        0.0,
    )
    assert found.largest_free == (
        Slot("aarch64", Resources(1, 500)),
        Slot("x86_64", Resources(4, 2000)),
        Slot("x86_64", Resources(2, 2000, vgpus=1)),
    )


def test_the_area_holds_all_workers() -> None:
    fleet = [worker("a", location=MUNICH), worker("b", location=AUGSBURG), worker("c")]
    found = summarise("edge", fleet, "rom", MUNICH, 0.0)
    assert found.location == MUNICH
    assert found.area_km == pytest.approx(MUNICH.distance_km(AUGSBURG))


def test_the_middle_of_workers_across_the_date_line() -> None:
    fleet = [worker("a", location=Location(0, 179)), worker("b", location=Location(0, -179))]
    found = summarise("edge", fleet, "rom", None, 0.0).location
    assert found is not None
    assert abs(found.longitude) == pytest.approx(180)
    assert found.latitude == pytest.approx(0)


@given(fleets())
def test_it_travels_and_stays_within_what_there_is(fleet: list[Candidate]) -> None:
    found = summarise("edge", fleet, "rom", None, 1.0)
    assert wire.decode(wire.encode(found), Aggregate) == found
    assert min(found.free.vcpus, found.free.memory_mb, found.free.vgpus) >= 0
    for slot in found.largest_free:
        assert not slot.free.shortfalls(found.free)
