"""Services, workers and strategies for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from oakctl.model.node import NodeFacts, Usage
from oakctl.model.resources import Location, Resources
from oakctl.model.service import Connectivity, Constraint, ServiceSpec
from oakctl.orchestration.scheduling.cluster import Candidate

MUNICH = Location(48.137, 11.575)
AUGSBURG = Location(48.371, 10.898)  # 57 km from Munich
HAMBURG = Location(53.551, 9.994)
JOB = "ar.ns.rec.ns"


def service(**changes: Any) -> ServiceSpec:
    base = ServiceSpec(JOB, "ar.ns", "process", "0" * 64, requests=Resources(1, 100))
    return replace(base, **changes)


def worker(
    name: str,
    capacity: Resources = Resources(4, 1000, 10_000),  # noqa: B008
    *,
    architecture: str = "x86_64",
    location: Location | None = None,
    runtimes: tuple[str, ...] = ("process",),
    **changes: Any,
) -> Candidate:
    facts = NodeFacts(
        name, architecture, "Debian", "3.11", capacity, runtimes=runtimes, location=location
    )
    return Candidate(name, facts, **changes)


def resources(most: int) -> st.SearchStrategy[Resources]:
    small = st.integers(0, 2)
    return st.builds(
        Resources,
        vcpus=st.integers(0, most * 4).map(lambda quarters: quarters / 4),
        memory_mb=st.integers(0, most * 100),
        storage_mb=st.integers(0, most * 100),
        vgpus=small,
        vtpus=small,
        bandwidth_in_kbit=st.integers(0, most),
        bandwidth_out_kbit=st.integers(0, most),
    )


places = st.none() | st.sampled_from([MUNICH, AUGSBURG, HAMBURG])
architectures = st.sampled_from(["x86_64", "aarch64"])
constraints = st.one_of(
    st.builds(
        Constraint,
        st.just("geo"),
        threshold=st.integers(0, 700),
        location=st.sampled_from([MUNICH, HAMBURG]),
    ),
    st.builds(Constraint, st.just("latency"), threshold=st.integers(1, 100), area=st.just("x")),
    st.builds(
        Constraint,
        st.just("direct"),
        nodes=st.lists(st.sampled_from(["w0", "w1", "edge/w2"])).map(tuple),
        clusters=st.lists(st.sampled_from(["edge", "cloud"])).map(tuple),
    ),
    st.builds(
        Constraint,
        st.just("clusters"),
        clusters=st.lists(st.sampled_from(["edge", "cloud"])).map(tuple),
    ),
)
services = st.builds(
    service,
    requests=resources(4),
    virtualization=st.sampled_from(["process", "container"]),
    architectures=st.lists(architectures, max_size=1).map(tuple),
    constraints=st.lists(constraints, max_size=2).map(tuple),
    connectivity=st.lists(
        st.builds(
            Connectivity,
            st.just("ar.ns.obj.ns"),
            st.lists(constraints, max_size=1).map(tuple),
        ),
        max_size=1,
    ).map(tuple),
)


@st.composite
def fleets(draw: st.DrawFn) -> list[Candidate]:
    return [
        worker(
            f"w{index}",
            draw(resources(8)),
            architecture=draw(architectures),
            location=draw(places),
            runtimes=draw(st.sampled_from([("process",), ("process", "container"), ()])),
            usage=Usage(disk_free_mb=draw(st.integers(0, 1000))),
            reserved=draw(resources(3)),
            status=draw(st.sampled_from(["ready"] * 4 + ["suspect", "dead", "never-seen"])),
            cordoned=draw(st.sampled_from([False, False, False, True])),
            instances_of_service=draw(st.integers(0, 3)),
            instances_total=draw(st.integers(3, 9)),
        )
        for index in range(draw(st.integers(0, 6)))
    ]
