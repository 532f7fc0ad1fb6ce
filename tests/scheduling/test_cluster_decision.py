"""The cluster's decision: safe, the same each time, and made whenever it can be."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import NotFound
from oakctl.model.images import Layer, PlatformImage
from oakctl.model.messages import Verdict
from oakctl.model.node import ContainerFacts, Usage
from oakctl.model.resources import Resources
from oakctl.model.service import Connectivity, Constraint, Port, ServiceSpec
from oakctl.orchestration.scheduling.candidate import Surroundings
from oakctl.orchestration.scheduling.cluster import Candidate, decide
from oakctl.orchestration.scheduling.filters import objections

from .samples import AUGSBURG, HAMBURG, MUNICH, fleets, service, services, worker

policies = st.sampled_from(["rom", "spread"])


@given(services, fleets(), policies)
def test_never_over_capacity(spec: ServiceSpec, fleet: list[Candidate], policy: str) -> None:
    chosen = decide(spec, fleet, policy, cluster="edge").worker
    if chosen is not None:
        candidate = next(c for c in fleet if c.name == chosen)
        left = candidate.facts.capacity - candidate.reserved
        assert not spec.requests.shortfalls(left)
        assert candidate.status == "ready"
        assert not candidate.cordoned


@given(services, fleets(), policies)
def test_one_is_chosen_exactly_when_one_fits(
    spec: ServiceSpec, fleet: list[Candidate], policy: str
) -> None:
    decision = decide(spec, fleet, policy, cluster="edge")
    around = Surroundings(cluster="edge")
    fitting = {c.name for c in fleet if not objections(spec, c, around)}
    assert (decision.worker in fitting) if fitting else decision.worker is None
    assert {v.candidate for v in decision.verdicts if v.fits} == fitting
    assert {v.candidate for v in decision.verdicts} == {c.name for c in fleet}
    assert all(v.reasons for v in decision.verdicts)


@given(services, fleets(), policies, st.randoms(use_true_random=False))
def test_the_order_of_candidates_decides_nothing(
    spec: ServiceSpec, fleet: list[Candidate], policy: str, chance: random.Random
) -> None:
    expected = decide(spec, fleet, policy)
    chance.shuffle(fleet)
    assert decide(spec, fleet, policy) == expected


def reasons(spec: ServiceSpec, candidate: Candidate, **more: Any) -> tuple[str, ...]:
    verdict = only(spec, candidate, **more)
    assert not verdict.fits
    return verdict.reasons


def only(spec: ServiceSpec, candidate: Candidate, **more: Any) -> Verdict:
    return decide(spec, [candidate], "rom", **more).verdicts[0]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Resources(vcpus=4.25), "asks for 4.25 vcpus, 4 free"),
        (Resources(memory_mb=1001), "asks for 1001 MiB memory, 1000 free"),
        (Resources(storage_mb=10_001), "asks for 10001 MiB storage, 10000 free"),
        (Resources(vgpus=1), "asks for 1 vgpus, 0 free"),
        (Resources(vtpus=2), "asks for 2 vtpus, 0 free"),
        (Resources(bandwidth_in_kbit=5), "asks for 5 kbit/s incoming bandwidth, 0 free"),
        (Resources(bandwidth_out_kbit=5), "asks for 5 kbit/s outgoing bandwidth, 0 free"),
    ],
)
def test_each_resource_has_its_reason(asked: Resources, reason: str) -> None:
    assert reasons(service(requests=asked), worker("w1")) == (reason,)


def test_all_obstacles_are_told_at_once() -> None:
    spec = service(requests=Resources(9, 9999), architectures=("aarch64",))
    assert len(reasons(spec, worker("w1", cordoned=True, status="suspect"))) == 5


def test_a_full_disk_counts_whatever_was_reserved() -> None:
    spec = service(requests=Resources(storage_mb=500))
    full = worker("w1", usage=Usage(disk_free_mb=499))
    assert reasons(spec, full) == ("asks for 500 MiB storage, 499 free",)


def test_runtime_and_architecture() -> None:
    assert reasons(service(virtualization="container"), worker("w1")) == (
        "virtualization container is not among process",
    )
    assert reasons(service(architectures=("aarch64", "armv7l")), worker("w1")) == (
        "architecture x86_64 is not among aarch64, armv7l",
    )


def test_a_port_of_the_host_leads_to_one_service() -> None:
    spec = service(ports=(Port(80, 8080), Port(53, 5300, "udp")))
    fleet = [
        worker("taken", host_ports={("tcp", 8080): "shop.ns.web.ns"}),
        worker("shared", host_ports={("tcp", 8080): spec.job_name}),
        worker("other", host_ports={("tcp", 5300): "shop.ns.web.ns"}),
    ]
    verdicts = {v.candidate: v for v in decide(spec, fleet, "rom").verdicts}
    assert verdicts["taken"].reasons[0] == "port 8080/tcp of the host leads to shop.ns.web.ns"
    assert not verdicts["taken"].fits
    assert verdicts["shared"].fits
    assert verdicts["other"].fits


def test_direct_names_workers_and_clusters() -> None:
    spec = service(constraints=(Constraint("direct", clusters=("edge",), nodes=("w2", "w3")),))
    decision = decide(spec, [worker("w1"), worker("w2")], "rom", cluster="edge")
    assert decision.worker == "w2"
    assert decision.verdicts[1].reasons == ("not named by the direct constraint (w2, w3)",)
    away = decide(spec, [worker("w2")], "rom", cluster="cloud")
    assert away.worker is None
    assert away.verdicts[0].reasons == ("cluster cloud is not among edge (direct constraint)",)
    with_cluster = service(constraints=(Constraint("direct", nodes=("edge/w1",)),))
    assert decide(with_cluster, [worker("w1")], "rom", cluster="edge").worker == "w1"


def test_geo_measures_from_the_worker() -> None:
    spec = service(constraints=(Constraint("geo", threshold=100, location=MUNICH),))
    near, far = worker("near", location=AUGSBURG), worker("far", location=HAMBURG)
    decision = decide(spec, [far, near, worker("lost")], "rom")
    assert decision.worker == "near"
    told = {v.candidate: v.reasons for v in decision.verdicts}
    assert told["lost"] == ("location not known",)
    assert told["far"][0].endswith("km away, at most 100 km allowed")


def test_geo_to_another_service_binds_whoever_comes_second() -> None:
    obj = "ar.ns.obj.ns"
    spec = service(connectivity=(Connectivity(obj, (Constraint("geo", threshold=100),)),))
    far = worker("far", location=HAMBURG)
    assert decide(spec, [far], "rom").worker == "far"
    decision = decide(spec, [far], "rom", peers={obj: (MUNICH, AUGSBURG)})
    assert decision.worker is None
    assert decision.verdicts[0].reasons[0].startswith(f"{obj}: ")
    assert decide(spec, [far], "rom", peers={obj: (MUNICH, HAMBURG)}).worker == "far"


def test_what_is_not_enforced_is_said_and_excludes_nobody() -> None:
    latency = Constraint("latency", threshold=20, area="munich-1")
    spec = service(
        constraints=(latency, Constraint("addons")),
        connectivity=(Connectivity("ar.ns.obj.ns", (Constraint("latency", threshold=5),)),),
    )
    verdict = only(spec, worker("w1"))
    assert verdict.fits
    assert verdict.reasons[1:] == (
        "latency to munich-1 of at most 20 ms is not enforced yet",
        "constraint 'addons' is not enforced yet",
        "latency to ar.ns.obj.ns of at most 5 ms is not enforced yet",
    )
    assert reasons(spec, worker("w1", cordoned=True))[1:] == verdict.reasons[1:]


def test_nobody_to_choose_from() -> None:
    assert decide(service(), [], "spread").worker is None


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="'ldp'") as caught:
        decide(service(), [worker("w1")], "ldp")
    assert "rom, spread" in caught.value.hint


def test_a_pushed_image_needs_the_worker_s_platform() -> None:
    sha = "a" * 64
    pushed = PlatformImage("linux/amd64", sha, 10, (Layer(sha, 5, sha),))
    spec = service(virtualization="container", code="ar:1", images=(pushed,))
    candidate = worker("w1", runtimes=("process", "container"))

    def on(platform: str) -> tuple[str, ...]:
        containers = ContainerFacts("Docker", platform=platform)
        facts = replace(candidate.facts, containers=containers)
        return objections(spec, replace(candidate, facts=facts), Surroundings(cluster="edge"))

    assert on("linux/amd64") == ()
    assert on("linux/arm64") == ("image ar:1 has no linux/arm64: it is for linux/amd64",)
