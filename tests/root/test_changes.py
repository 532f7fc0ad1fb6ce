"""What exists is made as described, looked at without a change, and gone on without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oakctl import paths
from oakctl.errors import Conflict, NotFound, OakError, Unreachable, UsageError
from oakctl.model import wire
from oakctl.model.requests import (
    ApplyRequest,
    ClusterCreate,
    HostCheckRequest,
    LookRequest,
    PlanRequest,
    PlaybookRun,
    WorkerAdd,
)
from oakctl.model.views import HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.store import fleet
from oakctl.orchestration.root.store.database import open_database
from oakctl.remote import bundle
from oakctl.remote.bootstrap import ClusterInputs, WorkerInputs
from oakctl.remote.facts import HostFacts, Listener
from tests.root.descriptor import application, service
from tests.root.stage import Stage, populate, until, upload

EDGE = ClusterCreate("edge", "edge-o")
W1 = WorkerAdd("w1", "edge", "edge-w")


async def test_a_worker_is_changed_and_keeps_its_secret(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        secret = credentials.known_worker_secret("edge", "w1")
        changed = replace(W1, labels={"room": "hall"})
        begun = await root.put_worker(changed)
        assert (await root.wait_operation(begun.id, 30)).kind == "fleet apply"
        view = await root.worker("edge", "w1")
        assert (view.status, view.asked) == ("ready", changed)
        assert credentials.known_worker_secret("edge", "w1") == secret
        with pytest.raises(Conflict, match="worker edge/w1 already"):
            await root.put_worker(replace(W1, host="edge-o"))


async def test_what_was_agreed_to_for_one_run_is_of_that_run_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new host key and a restart of the host: neither is kept, nor used by what comes later."""
    agreed: list[tuple[bool, bool]] = []
    real = stage.installer.worker

    def worker(host: HostView, accept_new: bool, inputs: WorkerInputs, *told: Any) -> None:
        agreed.append((accept_new, inputs.allow_reboot))
        real(host, accept_new, inputs, *told)

    monkeypatch.setattr(stage.installer, "worker", worker)
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        request = replace(W1, labels={"room": "hall"}, accept_new=True, allow_reboot=True)
        begun = await root.put_worker(request)
        await root.wait_operation(begun.id, 30)
        assert (await root.worker("edge", "w1")).asked == replace(W1, labels={"room": "hall"})
        edge.release = bundle.version(bundle.build().read_bytes())
        begun = await root.upgrade_worker("edge", "w1")
        await root.wait_operation(begun.id, 30)
    assert agreed[1:] == [(True, True), (False, False)]
    database = open_database(paths.database())
    (body,) = database.execute("SELECT body FROM workers").fetchone()
    assert '"accept_new":true' not in body.replace(" ", "")
    # As earlier versions stored it.
    with database.atomic():
        database.table("workers").update(("edge", "w1"), {"body": wire.encode(request).decode()})
    (row,) = fleet.workers(database)
    assert (row.request.accept_new, row.request.allow_reboot) == (False, False)
    database.close()


async def test_an_interrupted_change_is_still_a_difference(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.fail = Unreachable("edge-w does not answer")
        for begun in (
            await root.put_worker(replace(W1, labels={"room": "hall"})),
            await root.put_cluster(replace(EDGE, policy="spread")),
        ):
            with pytest.raises(OakError, match="does not answer"):
                await root.wait_operation(begun.id, 30)
        view = await root.worker("edge", "w1")
        assert (view.status, view.asked) == ("ready", W1)
        assert (await root.cluster("edge")).policy == "rom"


async def test_a_cluster_is_changed_with_its_link_up(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        begun = await root.put_cluster(replace(EDGE, policy="spread"))
        await root.wait_operation(begun.id, 30)
        view = await root.cluster("edge")
        assert (view.policy, view.status) == ("spread", "ready")
        with pytest.raises(Conflict, match="cluster edge already"):
            await root.put_cluster(replace(EDGE, host="edge-w"))


async def test_looking_makes_nothing(stage: Stage) -> None:
    async with stage.root() as root:
        plan = PlanRequest("h1", cluster=ClusterCreate("edge", "h1"))
        with pytest.raises(NotFound, match="no host 'h1'"):
            await root.look(LookRequest((plan,)))
        worker = PlanRequest("h2", worker=WorkerAdd("w1", "edge", "h2"), address="127.0.0.2")
        bare = PlanRequest("h3", address="127.0.0.3")
        asked = (bare, replace(plan, address="127.0.0.1"), worker)
        found = await root.look(LookRequest(asked))
        assert [each.host for each in found.plans] == ["h3", "h1", "h2"]
        missing = [[step.message for step in each.missing] for each in found.plans]
        assert missing == [[], ["missing"], ["missing"]]
        assert set(found.check.looked_at) == {"h1", "h2", "h3"}
        cluster, joining = stage.installer.roles
        assert isinstance(cluster, ClusterInputs)
        assert isinstance(joining, WorkerInputs)
        assert (cluster.root_secret, joining.secret) == ("", "")
        assert await root.hosts() == ()
        assert not paths.credentials_directory().exists()
        two = replace(worker, cluster=plan.cluster)
        with pytest.raises(UsageError, match="at most one"):
            await root.look(LookRequest((two,)))


async def test_a_playbook_runs_as_an_operation(stage: Stage) -> None:
    async with stage.root() as root:
        with pytest.raises(NotFound):
            await root.run_playbook(PlaybookRun("tune", "h1"))
        await root.put_host(HostView("h1", "127.0.0.1"))
        begun = await root.run_playbook(PlaybookRun("tune", "h1"))
        ended = await root.wait_operation(begun.id, 30)
        assert (ended.kind, ended.subject) == ("playbook run", "tune on host h1")
        assert stage.installer.calls == [("playbook tune", "h1")]


async def test_dead_hosts_are_gone_on_without(stage: Stage) -> None:
    edge, cloud = await stage.cluster("edge"), await stage.cluster("cloud", 0)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("Rec", lambda: root.service("Rec"), lambda v: v.state == "ready")
        await edge.stop()
        edge.bus.stop()
        await until("edge away", lambda: root.cluster("edge"), lambda v: v.status == "unreachable")
        stage.installer.fail = Unreachable("it does not answer")
        cloud.room = 5
        for begin in (
            lambda: root.remove_worker("edge", "w1", force=True, clean=True),
            lambda: root.remove_cluster("edge", force=True, clean=True),
        ):
            ended = await root.wait_operation((await begin()).id, 30)
            assert "it does not answer" in [step.message for step in ended.steps]
        assert [view.name for view in await root.clusters()] == ["cloud"]
        await until(
            "Rec in the cloud",
            lambda: root.instance("Rec.instance.0"),
            lambda v: v.cluster == "cloud" and v.state.value == "RUNNING",
        )
        removed = [e.message async for e in root.events() if e.kind.endswith(".removed")]
        assert all("stays there" in message for message in removed)


async def test_a_bus_of_ours_is_nothing_in_the_way(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = stage.installer.facts

    def taken(host: HostView, accept_new: bool) -> HostFacts:
        return replace(facts(host, accept_new), listeners=(Listener("0.0.0.0"),))

    monkeypatch.setattr(stage.installer, "facts", taken)
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        asked = tuple(PlanRequest(name, address="127.1.0.1") for name in ("edge-o", "edge-w"))
        for check in (
            (await root.look(LookRequest(asked))).check,
            await root.check_hosts(HostCheckRequest()),
        ):
            in_the_way = {each.host for each in check.findings if each.topic == "port"}
            assert in_the_way == {"edge-w"}
