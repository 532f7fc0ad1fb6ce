"""Work on hosts: steps, failures, interruption, carrying on, and what is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from oakctl import paths
from oakctl.errors import (
    Conflict,
    DeadlineExceeded,
    NotFound,
    OakError,
    Unreachable,
    UsageError,
)
from oakctl.model.requests import ApplyRequest, ClusterChange, ClusterCreate, WorkerAdd
from oakctl.model.views import HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.store import operations
from oakctl.orchestration.root.store.database import open_database
from tests.root.descriptor import application, service
from tests.root.stage import Stage, populate, until, upload

EDGE = HostView("h1", "127.0.0.1", 2222)


async def test_steps_are_followed_and_secrets_stay_out_of_the_database(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await root.put_host(EDGE)
        begun = await root.create_cluster(ClusterCreate("edge", "h1"))
        steps = [step async for step in root.follow_operation(begun.id)]
        assert [(s.step, s.state) for s in steps][:2] == [
            ("cluster: install", "running"),
            ("cluster: install", "done"),
        ]
        assert steps[-1].step == "orchestrator: answers"
        view = await root.operation(begun.id)
        assert (view.state, view.kind, len(view.steps)) == ("done", "cluster create", len(steps))
        assert (await root.hosts())[0].role == "orchestrator of edge"
        secret = credentials.root_secret("edge")[1].encode()
    folder = paths.credentials_directory() / "edge"
    for file in ("root.secret", "ca.pem", "access.json"):
        assert (folder / file).stat().st_mode & 0o777 == 0o600
    for file in paths.state_directory().glob("root.db*"):
        assert secret not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0


async def test_a_failure_is_kept_raised_and_carried_on_with_the_same_secret(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await root.put_host(EDGE)
        stage.installer.fail = Unreachable("h1 does not answer", hint="oakctl host check h1")
        begun = await root.create_cluster(ClusterCreate("edge", "h1"))
        with pytest.raises(Unreachable, match="h1 does not answer") as failed:
            await root.wait_operation(begun.id, 30)
        assert failed.value.hint == "oakctl host check h1"
        first = credentials.root_secret("edge")
        assert (await root.cluster("edge")).status == "creating"
        stage.installer.fail = None
        again = await root.create_cluster(ClusterCreate("edge", "h1"))
        await root.wait_operation(again.id, 30)
        assert credentials.root_secret("edge") == first
        assert (await root.cluster("edge")).status == "ready"


async def test_a_host_that_was_never_reached_holds_no_name(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        for name in ("h1", "h2"):
            await root.put_host(replace(EDGE, name=name))
        stage.installer.unreached = Unreachable("it does not answer")
        begun = await root.create_cluster(ClusterCreate("edge", "h1"))
        with pytest.raises(Unreachable):
            await root.wait_operation(begun.id, 30)
        assert await root.clusters() == ()
        stage.installer.unreached = None
        again = await root.create_cluster(ClusterCreate("edge", "h2"))
        await root.wait_operation(again.id, 30)
        stage.installer.unreached = Unreachable("it does not answer")
        begun = await root.add_worker(WorkerAdd("w1", "edge", "h1"))
        with pytest.raises(Unreachable):
            await root.wait_operation(begun.id, 30)
        assert await root.workers() == ()


async def test_a_root_that_stops_interrupts_and_says_what_to_run_again(stage: Stage) -> None:
    await stage.cluster("edge")
    stage.installer.hold = threading.Event()
    async with stage.root() as root:
        await root.put_host(EDGE)
        begun = await root.create_cluster(ClusterCreate("edge", "h1"))
        with pytest.raises(DeadlineExceeded, match="has not ended"):
            await root.wait_operation(begun.id, 0.2)
        # The same call follows the same work; another one is refused.
        assert (await root.create_cluster(ClusterCreate("edge", "h1"))).id == begun.id
        with pytest.raises(Conflict, match="under way"):
            await root.create_cluster(ClusterCreate("edge", "h1", policy="spread"))
    stage.installer.hold.set()
    async with stage.root() as root:
        view = await root.operation(begun.id)
        assert view.state == "failed"
        assert view.error.startswith("interrupted")
        assert "oakctl cluster create" in view.hint
        again = await root.create_cluster(ClusterCreate("edge", "h1"))
        assert (await root.wait_operation(again.id, 30)).state == "done"


async def test_what_a_killed_root_was_doing_is_shown_as_interrupted(stage: Stage) -> None:
    paths.private_directory(paths.state_directory())
    database = open_database(paths.database())
    with database.atomic():
        id = operations.begin(database, "worker add", "worker edge/w1", 1.0).id
    database.close()
    async with stage.root() as root:
        view = await root.operation(id)
        assert (view.state, view.exit_code) == ("failed", 1)
        assert "oakctl worker add" in view.hint
        with pytest.raises(OakError, match="interrupted"):
            await root.wait_operation(id, 30)


async def test_hosts_and_names_in_use_are_refused(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        with pytest.raises(NotFound, match="no host 'nowhere'"):
            await root.create_cluster(ClusterCreate("cloud", "nowhere"))
        with pytest.raises(Conflict, match="is the orchestrator of edge"):
            await root.create_cluster(ClusterCreate("cloud", "edge-o"))
        with pytest.raises(Conflict, match="cluster edge already"):
            await root.create_cluster(ClusterCreate("edge", "edge-o", "spread"))
        with pytest.raises(UsageError, match="not a name"):
            await root.create_cluster(ClusterCreate("Edge!", "edge-o"))
        with pytest.raises(UsageError, match="user of the bus"):
            await root.add_worker(WorkerAdd("root", "edge", "edge-o"))
        with pytest.raises(Conflict, match="is worker edge/w1"):
            await root.add_worker(WorkerAdd("w2", "edge", "edge-w"))
        with pytest.raises(NotFound, match="no cluster"):
            await root.add_worker(WorkerAdd("w2", "cloud", "edge-o"))
        with pytest.raises(Conflict, match="is worker edge/w1") as busy:
            await root.forget_host("edge-w")
        assert busy.value.hint == "first: oakctl worker remove edge/w1"
        with pytest.raises(Conflict, match="has 1 worker"):
            await root.remove_cluster("edge")


async def test_workers_and_clusters_leave_nothing(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        removal = await root.remove_worker("edge", "w1")
        await root.wait_operation(removal.id, 30)
        assert await root.workers() == ()
        removal = await root.remove_cluster("edge")
        await root.wait_operation(removal.id, 30)
        assert await root.clusters() == ()
        assert not (paths.credentials_directory() / "edge").exists()
        for host in await root.hosts():
            assert host.role == ""
            await root.forget_host(host.name)
            assert ("forget key", host.name) in stage.installer.calls
        assert ("remove worker", "edge-w") in stage.installer.calls
        assert ("remove cluster", "edge-o") in stage.installer.calls


async def test_a_removed_cluster_gives_its_instances_to_others(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge"), await stage.cluster("cloud", 0)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("Rec", lambda: root.service("Rec"), lambda v: v.state == "ready")
        (first,) = edge.instances.values()
        cloud.room = 5
        removal = await root.remove_worker("edge", "w1")
        await root.wait_operation(removal.id, 30)
        removal = await root.remove_cluster("edge")
        await root.wait_operation(removal.id, 30)
        view = await until(
            "Rec in the cloud",
            lambda: root.instance("Rec.instance.0"),
            lambda v: v.cluster == "cloud" and v.state.value == "RUNNING",
        )
        assert view.epoch > first
        assert edge.instances == {}


async def test_the_key_of_an_address_goes_with_its_last_name(stage: Stage) -> None:
    async with stage.root() as root:
        await root.put_host(EDGE)
        await root.put_host(HostView("again", EDGE.address, EDGE.port))
        await root.forget_host("h1")
        assert stage.installer.calls == []
        await root.forget_host("again")
        assert stage.installer.calls == [("forget key", "again")]


async def test_a_change_that_the_cluster_records_is_not_recorded_twice(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        assert (await root.cordon("edge", "w1", True)).summary is not None
        assert (await root.change_cluster("edge", ClusterChange("spread"))).policy == "spread"
        kinds = [event.kind async for event in root.events()]
        assert "worker.cordoned" not in kinds  # the cluster's own word; this one says nothing
        assert kinds.count("cluster.changed") == 1


async def test_a_worker_whose_host_is_gone_is_forgotten_without_it(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.fail = Unreachable("edge-w does not answer")
        removal = await root.remove_worker("edge", "w1")
        with pytest.raises(Unreachable):
            await root.wait_operation(removal.id, 30)
        removal = await root.remove_worker("edge", "w1", force=True)
        await root.wait_operation(removal.id, 30)
        assert await root.workers() == ()
        assert edge.workers == {}
        await root.forget_host("edge-w")


async def test_a_cluster_that_was_away_is_told_of_the_workers_it_lost(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await edge.stop()
        await until("silence", lambda: root.cluster("edge"), lambda v: v.status != "ready")
        removal = await root.remove_worker("edge", "w1", force=True)
        view = await root.wait_operation(removal.id, 30)
        assert next((s.step, s.message) for s in view.steps) == (
            "bus: credential",
            "cluster edge is told as soon as it answers",
        )
        assert await root.workers() == ()
        assert edge.workers == {"w1": False}
        await edge.start()

        async def left() -> dict[str, bool]:
            return dict(edge.workers)

        await until("w1 to be removed", left, lambda workers: not workers)


async def test_a_cluster_that_is_gone_gives_its_instances_to_others(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge"), await stage.cluster("cloud", 0)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 2))))
        await until("Rec", lambda: root.service("Rec"), lambda v: v.state == "ready")
        first = max(edge.instances.values())
        await edge.stop()
        await until("silence", lambda: root.cluster("edge"), lambda v: v.status != "ready")
        stage.installer.calls.clear()
        removal = await root.remove_cluster("edge", force=True)
        await root.wait_operation(removal.id, 30)
        assert stage.installer.calls == []
        assert [view.name for view in await root.clusters()] == ["cloud"]
        assert not (paths.credentials_directory() / "edge").exists()
        view = await until(
            "Rec to wait", lambda: root.service("Rec"), lambda v: v.state == "pending"
        )
        assert "cloud" in view.reason
        cloud.room = 5
        await until("Rec again", lambda: root.service("Rec"), lambda v: v.state == "ready")
        assert min(cloud.instances.values()) > first
        for host in ("edge-o", "edge-w"):
            await root.forget_host(host)
