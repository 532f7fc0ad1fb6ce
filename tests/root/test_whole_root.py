"""The root over real buses: from a descriptor to instances in clusters, and back."""

from __future__ import annotations

import pytest

from oakctl.errors import Conflict, NotFound, OakError
from oakctl.model import subjects
from oakctl.model.instance import InstanceState
from oakctl.model.messages import ClusterEvent, Share
from oakctl.model.requests import ApplyRequest, ClusterChange
from oakctl.model.views import ServiceView
from tests.root.descriptor import SHA256, application, service, talks_to
from tests.root.fake_cluster import FakeCluster, table
from tests.root.stage import Stage, populate, until, upload

REC, OBJ = "ar.demo.Rec.demo", "ar.demo.Obj.demo"


def is_ready(view: ServiceView) -> bool:
    return view.state == "ready"


async def test_an_application_is_placed_scaled_explained_and_deleted(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        result = await root.apply(ApplyRequest(application(service("Rec", 2))))
        assert result.created == ("ar.demo",)
        view = await until("Rec to be ready", lambda: root.service("Rec"), is_ready)
        assert (view.ready, view.wanted) == (2, 2)
        assert view.rr_ip.startswith("10.30.")
        assert edge.complete == {SHA256}

        async def shares() -> dict[str, Share]:
            return edge.share_bodies

        bodies = await until("the share", shares, lambda found: REC in found)
        assert bodies[REC].instances == {0: 1, 1: 1}

        await root.scale("Rec", 1)
        await until("one instance", lambda: root.instances("Rec"), lambda found: len(found) == 1)
        await root.scale("Rec", 3)
        found = await until(
            "three instances",
            lambda: root.instances("Rec"),
            lambda found: [v.state for v in found] == [InstanceState.RUNNING] * 3,
        )
        assert [(v.number, v.epoch) for v in found] == [(0, 1), (1, 2), (2, 1)]
        assert found[0].worker == "w1"

        explained = await root.explain("Rec")
        assert {decision.by for decision in explained.decisions} == {"root", "edge"}
        assert any("limits not enforced" in note for note in explained.notes)

        deleted = await root.delete_application("ar")
        assert deleted.state == "deleting"
        await until("the end", root.applications, lambda found: not found)
        assert edge.instances == {}
        kinds = [event.kind async for event in root.events()]
        for kind in ("application.applied", "instance.placed", "application.deleted"):
            assert kind in kinds


async def test_what_one_cluster_refuses_goes_to_the_next_and_waits_for_room(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge", 1), await stage.cluster("cloud", 1)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 3))))
        view = await until("a reason", lambda: root.service("Rec"), lambda v: v.state == "pending")
        assert "edge: w1: it is full" in view.reason
        assert "cloud: w1: it is full" in view.reason
        assert len(edge.instances) == len(cloud.instances) == 1
        assert (await root.status()).undelegated == 1
        edge.room = 2
        await until("room", lambda: root.service("Rec"), is_ready)
        outcomes = {decision.outcome for decision in (await root.explain("Rec")).decisions}
        assert {"refused", "pending", "edge/w1", "cloud/w1"} <= outcomes


async def test_a_restarted_root_and_a_restarted_cluster_change_nothing(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 2))))
        await until("Rec", lambda: root.service("Rec"), is_ready)
    offers, instances = len(edge.offers), dict(edge.instances)
    await edge.stop()
    async with stage.root() as root:
        view = await root.service("Rec")
        assert view.state == "degraded"
        assert "edge is unreachable" in view.reason
        assert (await root.instances("Rec"))[0].worker == "w1"
        assert (await root.cluster("edge")).status == "unreachable"
        await edge.start()
        await until("Rec again", lambda: root.service("Rec"), is_ready)
    assert (len(edge.offers), edge.instances) == (offers, instances)


@pytest.mark.slow
async def test_a_lost_answer_never_doubles(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge"), await stage.cluster("cloud")
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        edge.silent = cloud.silent = {subjects.CTL_OFFER}
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until(
            "a lost answer", lambda: root.instance("Rec.instance.0"), lambda v: "again" in v.reason
        )
        edge.silent = cloud.silent = set()
        await until("Rec", lambda: root.service("Rec"), is_ready)
        assert len(edge.instances) + len(cloud.instances) == 1
        epochs = {offer.epoch for fake in (edge, cloud) for offer in fake.offers}
        assert epochs == {1}


@pytest.mark.slow
async def test_deletion_waits_for_a_cluster_that_is_away(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("Rec", lambda: root.service("Rec"), is_ready)
        await edge.stop()
        await until("silence", lambda: root.cluster("edge"), lambda v: v.status == "unreachable")
        await root.delete_application("ar.demo")
        view = await root.application("ar")
        assert view.state == "deleting"
        assert "edge is unreachable" in view.services[0].reason
        with pytest.raises(Conflict, match="being deleted"):
            await root.apply(ApplyRequest(application(service("Rec"))))
        await edge.start()
        await until("the end", root.applications, lambda found: not found)
        # A later application of the same name begins above every epoch that was given.
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("Rec", lambda: root.service("Rec"), is_ready)
        assert edge.instances == {(REC, 0): 2}


async def test_descriptors_are_refused_whole(stage: Stage) -> None:
    async with stage.root() as root:
        with pytest.raises(NotFound, match="was not uploaded"):
            await root.apply(ApplyRequest(application(service("Rec"))))
        await upload(root)
        with pytest.raises(OakError) as refused:
            await root.apply(ApplyRequest(application(service("Rec", vcpus=-1))))
        assert any("vcpus" in line for line in refused.value.details)
        request = ApplyRequest(
            application(service("Rec"), service("Obj", connectivity=talks_to("Rec")))
        )
        assert (await root.apply(request)).created == ("ar.demo",)
        assert (await root.apply(request)).created == ()
        with pytest.raises(Conflict, match="another descriptor") as conflict:
            await root.apply(ApplyRequest(application(service("Rec"))))
        assert "oakctl app delete ar.demo" in conflict.value.hint
        pinned = service("Web", addresses={"rr_ip": (await root.service("Rec")).rr_ip})
        with pytest.raises(Conflict, match="belongs to"):
            await root.apply(ApplyRequest(application(pinned, name="other")))
        assert [view.name for view in await root.applications()] == ["ar.demo"]


async def test_tables_of_one_cluster_reach_those_whose_instances_talk_to_it(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge", 1), await stage.cluster("cloud", 1)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        services = (service("Rec"), service("Obj", connectivity=talks_to("Rec")))
        await root.apply(ApplyRequest(application(*services)))
        await until("Rec", lambda: root.service("Rec"), is_ready)
        await until("Obj", lambda: root.service("Obj"), is_ready)
        await until("Rec", lambda: root.service("Rec"), is_ready)
        at = {key[0]: fake for fake in (edge, cloud) for key in fake.instances}
        home, other = at[REC], edge if at[REC] is cloud else cloud
        home.tables = (table(REC, home.name, 3),)
        assert at[OBJ] is other

        async def arrived() -> FakeCluster:
            return other

        await until("the table", arrived, lambda fake: (REC, home.name) in fake.foreign)
        assert other.foreign[REC, home.name].generation == 3


async def test_events_of_clusters_are_stored_once_and_policies_follow(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        event = ClusterEvent("edge", "e1", 5.0, "worker.dead", "w1", "no heartbeat", "power")
        assert (await edge.event(event)).ok
        assert (await edge.event(event)).ok
        found = [e async for e in root.events() if e.kind == "worker.dead"]
        assert [(e.subject, e.reason, e.cluster) for e in found] == [("w1", "power", "edge")]
        await root.change_cluster("edge", ClusterChange("spread"))

        async def policy() -> str:
            return edge.policy

        await until("the policy", policy, lambda name: name == "spread")
        with pytest.raises(NotFound, match="no scheduling policy"):
            await root.change_cluster("edge", ClusterChange("nonsense"))


async def test_logs_cordons_and_short_names(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    edge.log_text = "first\nsecond\n"
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await root.apply(ApplyRequest(application(service("Rec"), name="br")))
        await until("Rec", lambda: root.service("br.demo.Rec"), is_ready)
        with pytest.raises(OakError, match="may be any of 2 services") as ambiguous:
            await root.service("Rec")
        assert ambiguous.value.details == ("ar.demo.Rec.demo", "br.demo.Rec.demo")
        text = "".join([piece async for piece in root.logs("br.demo.Rec.instance.0", 7, True)])
        assert text == "second\n"
        assert (await root.cordon("edge", "w1", True)).summary is not None
        assert edge.workers == {"w1": True}


async def test_drained_worker_stays_and_has_nothing_more_and_each_thing_has_its_story(
    stage: Stage,
) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("Rec", lambda: root.service("Rec"), is_ready)
        name = (await root.instances())[0].name
        story = await root.history(name)
        assert story
        assert {event.subject for event in story} == {name}
        assert [event.id for event in story] == sorted(event.id for event in story)
        assert await root.history("nothing") == ()
        assert (await root.drain("edge", "w1")).summary is not None
        assert edge.workers == {"w1": True}
        assert edge.instances == {}
        with pytest.raises(NotFound, match="no worker edge/none"):
            await root.drain("edge", "none")
