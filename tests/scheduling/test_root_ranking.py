"""The root's ranking, on aggregates alone."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.messages import Aggregate
from oakctl.model.resources import Location, Resources
from oakctl.model.service import Constraint, ServiceSpec
from oakctl.orchestration.scheduling.aggregate import summarise
from oakctl.orchestration.scheduling.cluster import Candidate, decide
from oakctl.orchestration.scheduling.root import rank

from .samples import AUGSBURG, HAMBURG, MUNICH, fleets, service, services, worker


def cluster(name: str, *fleet: Candidate, location: Location | None = None) -> Aggregate:
    return summarise(name, fleet, "rom", location, 1.0)


def refusal(spec: ServiceSpec, aggregate: Aggregate, **more: Any) -> tuple[str, ...]:
    ranking = rank(spec, [aggregate], **more)
    assert ranking.order == ()
    return ranking.verdicts[0].reasons


@given(services, st.lists(fleets(), max_size=3))
def test_no_cluster_is_left_out_that_could_take_it(
    spec: ServiceSpec, many: list[list[Candidate]]
) -> None:
    names = ["edge", "cloud", "far"]
    able, aggregates = set(), []
    for name, fleet in zip(names, many, strict=False):
        aggregates.append(cluster(name, *fleet))
        if decide(spec, fleet, "rom", cluster=name).worker is not None:
            able.add(name)
    ranking = rank(spec, aggregates)
    assert able <= set(ranking.order)
    assert {v.candidate for v in ranking.verdicts} == {a.cluster for a in aggregates}
    assert all(v.reasons for v in ranking.verdicts)


@given(services, st.lists(fleets(), max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_aggregates_decides_nothing(
    spec: ServiceSpec, many: list[list[Candidate]], chance: random.Random
) -> None:
    aggregates = [cluster(f"c{index}", *fleet) for index, fleet in enumerate(many)]
    expected = rank(spec, aggregates)
    chance.shuffle(aggregates)
    assert rank(spec, aggregates) == expected


def test_eight_single_cores_are_no_place_for_four() -> None:
    small = cluster("edge", *(worker(f"w{n}", Resources(1, 1000)) for n in range(8)))
    assert refusal(service(requests=Resources(vcpus=4)), small) == (
        "asks for 4 vcpus, at most 1 free on one worker (8 in all)",
    )


def test_a_gpu_elsewhere_is_no_help() -> None:
    aggregate = cluster(
        "edge", worker("w1", Resources(8, 8000)), worker("w2", Resources(1, 500, vgpus=1))
    )
    assert rank(service(requests=Resources(1, 500, vgpus=1)), [aggregate]).order == ("edge",)
    text = refusal(service(requests=Resources(4, 500, vgpus=1)), aggregate)[0]
    assert "no worker has these and all else free" in text or "vgpus" in text


def test_a_taken_gpu_is_not_free() -> None:
    taken = worker("w1", Resources(8, 8000, vgpus=1), reserved=Resources(vgpus=1))
    assert refusal(service(requests=Resources(vgpus=1)), cluster("edge", taken)) == (
        "asks for 1 vgpus, at most 0 free on one worker",
    )


def test_the_room_must_be_on_the_right_architecture() -> None:
    aggregate = cluster(
        "edge",
        worker("big", Resources(8, 8000), architecture="x86_64"),
        worker("pi", Resources(1, 500), architecture="aarch64"),
    )
    spec = service(architectures=("aarch64",), requests=Resources(vcpus=2))
    assert refusal(spec, aggregate) == (
        "asks for 2 vcpus, at most 1 free on one worker (9 in all)",
    )
    other = service(architectures=("riscv64",))
    assert refusal(other, aggregate) == ("architecture riscv64 is not among aarch64, x86_64",)


def test_runtime_and_readiness() -> None:
    assert refusal(service(virtualization="container"), cluster("edge", worker("w1"))) == (
        "virtualization container is not among process",
    )
    assert refusal(service(), cluster("edge", worker("w1", cordoned=True))) == (
        "no worker is ready",
    )


def test_direct_and_clusters() -> None:
    edge, cloud = cluster("edge", worker("w1")), cluster("cloud", worker("v1"))
    by_cluster = service(constraints=(Constraint("direct", clusters=("cloud",)),))
    assert rank(by_cluster, [edge, cloud]).order == ("cloud",)
    by_node = service(constraints=(Constraint("direct", nodes=("w1",)),))
    ranking = rank(by_node, [edge, cloud])
    assert ranking.order == ("edge",)
    assert ranking.verdicts[1].reasons == (
        "none of the workers of the direct constraint is ready here (w1)",
    )
    allowed = service(constraints=(Constraint("clusters", clusters=("edge", "far")),))
    ranking = rank(allowed, [edge, cloud])
    assert ranking.order == ("edge",)
    assert ranking.verdicts[1].reasons == ("not among edge, far (clusters constraint)",)


def test_geo_reaches_to_the_edge_of_the_area() -> None:
    spec = service(constraints=(Constraint("geo", threshold=20, location=MUNICH),))
    wide = cluster("wide", worker("w1", location=MUNICH), worker("w2", location=AUGSBURG))
    assert rank(spec, [wide]).order == ("wide",)
    far = cluster("far", worker("w1", location=HAMBURG))
    assert "km away, at most 20 km allowed" in refusal(spec, far)[0]
    assert refusal(spec, cluster("nowhere", worker("w1"))) == ("location not known",)


def test_a_cluster_that_does_not_answer_says_why() -> None:
    ranking = rank(service(), [cluster("edge", worker("w1"))], unreachable={"edge": "no tunnel"})
    assert ranking.order == ()
    assert ranking.verdicts[0].reasons == ("no tunnel",)


def test_more_room_first_then_fewer_instances_then_name() -> None:
    same = [cluster(name, worker("w1")) for name in ("a", "b", "c")]
    fuller = cluster("0", worker("w1", reserved=Resources(2, 500)))
    ranking = rank(service(), [*same, fuller], instances_of_service={"a": 2, "b": 1, "c": 1})
    assert ranking.order == ("b", "c", "a", "0")


def test_what_is_not_enforced_is_said() -> None:
    spec = service(constraints=(Constraint("latency", threshold=20, area="munich-1"),))
    verdict = rank(spec, [cluster("edge", worker("w1"))]).verdicts[0]
    assert verdict.fits
    assert "not enforced yet" in verdict.reasons[-1]
