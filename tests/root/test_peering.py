"""Clusters are introduced, carried for where they have to be, and forgotten by each other."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.cli import cluster_link
from oakctl.model.messages import Aggregate, ClusterState
from oakctl.model.peers import PeerSummary
from oakctl.model.requests import ApplyRequest, ClusterCreate
from oakctl.model.resources import Resources
from oakctl.model.views import ClusterLink, ClusterView, HostView
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root.installer import Report
from oakctl.orchestration.root.peering import Known, links_of, to_carry, to_forget, to_introduce
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs
from tests.cluster.rig import Rig, Worker
from tests.root.descriptor import application, service, talks_to
from tests.root.stage import DEADLINE_S, Stage, populate, until, upload
from tests.root.test_with_orchestrator import RigInstaller, rigs

__all__ = ["rigs"]  # a fixture

SAME = PeerSummary("cloud", "id", "c:1", revision=5, have=7)
EDGE = Known("edge", "e:1", {"cloud": SAME})
CLOUD = Known(
    "cloud", "c:1", {"edge": replace(SAME, cluster="edge", address="e:1", revision=7, have=5)}
)


def cloud(**changes: object) -> Known:
    """Cloud, which says something else of edge."""
    return replace(CLOUD, peers={"edge": replace(CLOUD.peers["edge"], **changes)})  # type: ignore[arg-type]


def test_a_pair_is_introduced_until_both_have_the_same_introduction_and_address() -> None:
    assert to_introduce([EDGE, CLOUD]) == []
    for other in (
        replace(CLOUD, peers={}),
        cloud(introduction="another"),
        cloud(address="e:2"),
        replace(CLOUD, address="c:2"),
    ):
        assert to_introduce([EDGE, other]) == [("cloud", "edge")]
    assert to_introduce([EDGE]) == []


def test_who_is_no_cluster_of_ours_any_more_is_forgotten() -> None:
    assert to_forget([EDGE, CLOUD], ["edge", "cloud"]) == []
    assert to_forget([EDGE], ["edge"]) == [("edge", "cloud")]


def test_words_are_carried_for_those_without_a_link_that_have_something_to_say() -> None:
    assert to_carry([EDGE, CLOUD]) == []
    assert to_carry([EDGE, cloud(have=4)]) == [("cloud", "edge")]
    assert to_carry([EDGE, cloud(revision=8)]) == [("cloud", "edge")]
    assert to_carry([EDGE, cloud(revision=8, linked=True)]) == []
    assert to_carry([EDGE, cloud(revision=8, introduction="another")]) == []


def test_a_link_is_told_with_who_dials_or_with_all_that_is_in_the_way() -> None:
    def said(name: str, **changes: object) -> ClusterState:
        nothing = Aggregate(name, 0, "rom", 0, Resources(), Resources())
        other = "edge" if name == "cloud" else "cloud"
        seen = replace(SAME, cluster=other, address=f"{other}:1", **changes)  # type: ignore[arg-type]
        return ClusterState(name, "s", 1, 0, nothing, peers=(seen,))

    up = {"linked": True, "dialled_by": "cloud", "since": 5.0}
    states = {"edge": said("edge", **up), "cloud": said("cloud", **up), "theirs": None}
    (link,) = links_of("edge", states)
    assert link == ClusterLink("cloud", True, "cloud", 5.0)
    view = ClusterView("edge", "ready", "", "h", "rom", None, 0, 0, 0, 0.0, links=(link,))
    assert cluster_link.column(view, 65.0) == "cloud (by cloud)"
    assert cluster_link.fields(view, 65.0) == [("link to cloud", "direct for 60s, cloud dials")]
    states = {"edge": said("edge", reason="refused"), "cloud": said("cloud", reason="no route")}
    (link,) = links_of("edge", states)
    assert link.reason == "edge can't dial cloud:1: refused; cloud can't dial edge:1: no route"
    (line,) = cluster_link.fields(replace(view, links=(link,)), 65.0)
    assert line[1].startswith("none, the root carries: edge can't dial")
    states["cloud"] = replace(said("cloud"), peers=())
    assert "not introduced" in links_of("edge", states)[0].reason


class Elsewhere(RigInstaller):
    """The buses are said to be at `address`."""

    address = "127.0.0.2"  # nobody listens there

    def cluster(
        self,
        host: HostView,
        accept_new: bool,
        inputs: ClusterInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> ClusterAccess:
        rig = self.rigs[inputs.cluster]
        rig.bus.users = bus_server.read_users(rig.bus.layout)
        if rig.process is not None:
            rig.end_orchestrator()
        access = super().cluster(host, accept_new, inputs, report, cancelled)
        return replace(access, bus_address=self.address)


@pytest.mark.slow
async def test_carried_then_linked_then_forgotten(tmp_path: Path, rigs: dict[str, Rig]) -> None:
    installer = Elsewhere(rigs)
    async with Stage(tmp_path, installer).root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        only = {"type": "clusters", "allowed": ["cloud"]}
        rec = service("Rec", constraints=[only])
        obj = service("Obj", connectivity=talks_to("Rec"),
                      constraints=[{**only, "allowed": ["edge"]}])  # fmt: skip
        await root.apply(ApplyRequest(application(rec, obj)))

        def known() -> list[str]:
            worker: Worker = rigs["edge"].workers["w1"]
            tables = [t for t in worker.tables.tables if t.cluster == "cloud"]
            return [target.cluster for t in tables for target in t.targets]

        async def links() -> tuple[ClusterLink, ...]:
            return (await root.cluster("edge")).links

        await until("edge to know Rec, by way of the root", known)
        (link,) = await until("the reasons", links, lambda found: ";" in found[0].reason)
        assert not link.linked
        assert "127.0.0.2" in link.reason

        installer.address = "127.0.0.1"
        for name in rigs:
            done = await root.create_cluster(ClusterCreate(name, f"{name}-o"))
            await root.wait_operation(done.id, DEADLINE_S)
        (link,) = await until("a link", links, lambda found: found[0].linked)
        assert link.dialled_by == "cloud"
        await until("edge to know Rec", known)

        gone = await root.remove_cluster("cloud", force=True)
        await root.wait_operation(gone.id, DEADLINE_S)
        folder = Path(rigs["edge"].bus.layout.state("peers"))
        await until("edge to have forgotten cloud", lambda: not list(folder.iterdir()))
        await until("its tables to be gone", lambda: not known())
        assert "peer-cloud" not in bus_server.read_users(rigs["edge"].bus.layout)
