"""What is shown of services and clusters, from a scene made by hand."""

from __future__ import annotations

import pytest

from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.messages import Aggregate, ClusterState, InstancePlace
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.model.views import ServiceView
from oakctl.orchestration.root import views
from oakctl.orchestration.root.delegation import Phase, Row
from oakctl.orchestration.root.store.fleet import ClusterRow
from oakctl.orchestration.root.store.wanted import ApplicationRow, ServiceRow
from oakctl.orchestration.root.views import Heard, Scene

JOB = "ar.demo.rec.demo"
S = InstanceState


def seen(state: S, *, worker: str = "w1", **more: object) -> InstancePlace:
    """One instance as its cluster tells it."""
    return InstancePlace(ObservedInstance(JOB, 0, 1000, state, 1.0, **more), worker)  # type: ignore[arg-type]


def scene(
    row: Row,
    *places: InstancePlace,
    up: bool = True,
    wanted: int = 1,
    why: str = "",
    waits: bool = True,
) -> Scene:
    """One service in one cluster."""
    spec = ServiceSpec(JOB, "ar.demo", "process", "")
    aggregate = Aggregate("edge", 0.0, "rom", 1, Resources(), Resources())
    state = ClusterState("edge", "s", 1, 0.0, aggregate, places)
    return Scene(
        [ApplicationRow("ar.demo", "", 0.0)],
        [ServiceRow(wanted, spec, spec)],
        [row],
        [ClusterRow("edge", "h", "rom", None, 0, "ready", 0.0)],
        [],
        {"edge": Heard(up, "" if up else "no tunnel", 5.0, state)},
        lambda _: why,
        lambda _: waits and bool(why),
    )


def service(made: Scene) -> ServiceView:
    """Its only service."""
    (view,) = views.services(made)
    return view


PLACED = Row(JOB, 0, True, Phase.PLACED, 1, "edge")
FREE = Row(JOB, 0, True)


@pytest.mark.parametrize(
    ("made", "state", "reason"),
    [
        (scene(PLACED, seen(S.RUNNING, ready=True)), "ready", ""),
        (scene(PLACED, seen(S.RUNNING)), "starting", ""),
        (scene(PLACED, seen(S.COMPLETED)), "ready", ""),
        (scene(PLACED), "starting", ""),
        (scene(PLACED, seen(S.FAILED, reason="exit 1")), "degraded", "exit 1"),
        (scene(PLACED, seen(S.RUNNING, ready=True), up=False), "degraded", "edge is unreachable"),
        (
            scene(PLACED, seen(S.CLUSTER_SCHEDULED, worker="", reason="no worker fits")),
            "pending",
            "no worker fits",
        ),
        (scene(FREE, why="edge: full"), "pending", "edge: full"),
        (scene(FREE, why="artifact is being sent", waits=False), "starting", "being sent"),
        (scene(FREE), "starting", ""),
        (scene(PLACED, wanted=0), "stopped", ""),
    ],
)  # fmt: skip
def test_the_state_of_a_service_follows_from_its_instances(
    made: Scene, state: str, reason: str
) -> None:
    view = service(made)
    assert view.state == state
    assert reason in view.reason


def test_an_instance_that_is_withdrawn_is_stopping_whatever_it_does() -> None:
    row = Row(JOB, 0, False, Phase.WITHDRAWING, 1, "edge")
    (view,) = views.instances(scene(row, seen(S.RUNNING, ready=True)))
    assert (view.state, view.ready, view.worker) == (S.STOPPING, False, "w1")


def test_states_of_instances_without_a_word_from_their_cluster() -> None:
    assert views.instances(scene(FREE))[0].state is S.REGISTERED
    assert views.instances(scene(FREE, why="full"))[0].state is S.REQUESTED
    assert views.instances(scene(PLACED))[0].state is S.CLUSTER_SCHEDULED


def test_an_unreachable_cluster_says_why_and_since_when() -> None:
    (view,) = views.clusters(scene(PLACED, up=False))
    assert (view.status, view.status_reason, view.last_seen) == ("unreachable", "no tunnel", 5.0)
    assert view.node_subnets == "10.18.0.0/20"
