"""A root in a cluster of another operator's, over a real orchestrator; and the owner's side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model import messages as m
from oakctl.model import sessions, subjects
from oakctl.model.instance import InstanceState
from oakctl.model.requests import (
    ApplyRequest,
    ClusterChange,
    ClusterCreate,
    GrantRequest,
    WorkerAdd,
)
from oakctl.model.roots import AccessFile, RootGrant, RootRevocation, RootRules, granted_user
from oakctl.model.views import HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.links import Link, TunnelLike
from oakctl.remote.bootstrap import ClusterAccess
from tests.bus_fixture import hashed
from tests.cluster.rig import TIMERS, Rig, facts, running_rig
from tests.root.descriptor import application, service
from tests.root.fake_cluster import FakeInstaller, PlainTunnel
from tests.root.stage import DEADLINE_S, Stage, populate, until, upload

RULES = RootRules(namespaces=("demo",), cpu_share=0.5)


class JoiningInstaller(FakeInstaller):
    """The way to a bus that runs here needs no SSH."""

    def tunnel(self, host: HostView, access: ClusterAccess) -> TunnelLike:
        return PlainTunnel(self.buses[access.tls_hostname].port)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path, replace(TIMERS, suspect_s=5.0, dead_s=15.0)) as up:
        yield up


async def access_file(rig: Rig, rules: RootRules = RULES) -> AccessFile:
    """What the owner would hand over."""
    secret = rig.bus.new_secret(granted_user("rob"))
    grant = RootGrant("rob", hashed(secret), rules)
    assert (await rig.root.ask(subjects.CTL_ROOT, grant, m.Answer)).ok
    key = asyncssh.generate_private_key("ssh-ed25519")
    host_key = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    return AccessFile(
        cluster=rig.bus.cluster,
        name="rob",
        address="198.51.100.7",
        port=22,
        user="oak",
        host_keys=(" ".join(host_key.split()[:2]),),
        private_key=key.export_private_key("openssh").decode(),
        secret=secret,
        ca_pem=Path(rig.bus.layout.etc("bus/ca.pem")).read_text(),
        tls_hostname=rig.bus.cluster,
        node_subnets="10.18.0.0/20",
        rules=rules,
    )


def of(namespace: str, **more: Any) -> ApplyRequest:
    text = json.loads(application(service("Rec", **more), name=namespace))
    text["applications"][0]["application_namespace"] = namespace
    return ApplyRequest(json.dumps(text))


@pytest.mark.slow
async def test_a_cluster_of_anothers_takes_what_its_rules_let_in(tmp_path: Path, rig: Rig) -> None:
    await rig.join("w1", facts(memory_mb=512))
    stage = Stage(tmp_path, JoiningInstaller({"edge": rig.bus}))
    given = await access_file(rig)
    async with stage.root() as rob:
        await rob.wait_operation((await rob.grants.join(given)).id, DEADLINE_S)
        (cluster,) = await rob.clusters()
        assert (cluster.name, cluster.status, cluster.host) == ("edge", "ready", "edge-gate")
        assert cluster.aggregate is not None
        assert cluster.aggregate.free.vcpus == 2  # half of the worker's four
        assert (await rob.workers()) == ()
        store = paths.known_hosts().read_text()
        assert given.host_keys[0] in store

        await upload(rob)
        await rob.apply(of("other", vcpus=1))
        explained = await until(
            "the refusal",
            lambda: rob.explain("other.other.Rec.demo"),
            lambda found: "admission: namespace 'other' is not among rob's: demo" in str(found),
        )
        assert any(not v.fits for d in explained.decisions for v in d.verdicts)
        await rob.delete_application("other")

        await rob.apply(of("demo", vcpus=1, oakctl={"replicas": 2}))
        await until(
            "both to run",
            lambda: rob.instances("demo.demo.Rec.demo"),
            lambda found: [v.state for v in found] == [InstanceState.RUNNING] * 2,
        )
        assert rig.root.state is not None
        assert rig.root.state.instances == ()  # they are not the owner's
        await rob.scale("demo.demo.Rec.demo", 3)
        service_view = await until(
            "the third to wait",
            lambda: rob.service("demo.demo.Rec.demo"),
            lambda view: view.state == "pending",
        )
        assert "cpu" in service_view.reason or "vcpus" in service_view.reason
        await rob.scale("demo.demo.Rec.demo", 2)

        for refused in (
            lambda: rob.change_cluster("edge", ClusterChange("spread")),
            lambda: rob.add_worker(WorkerAdd("w9", "edge", "edge-gate")),
            lambda: rob.create_cluster(ClusterCreate("edge", "edge-gate")),
            lambda: rob.upgrade_cluster("edge"),
            lambda: rob.grants.grant("edge", GrantRequest("eve")),
            lambda: rob.grants.all("edge"),
        ):
            with pytest.raises(Conflict, match="another operator's"):
                await refused()

        revoked = RootRevocation("rob")
        assert (await rig.root.ask(subjects.CTL_REVOKE, revoked, m.Answer)).ok
        view = await until(
            "the end of it", lambda: rob.cluster("edge"), lambda c: c.status == "unreachable"
        )
        await until(
            "the reason",
            lambda: rob.cluster("edge"),
            lambda c: "refuses the root" in c.status_reason,
        )
        assert view.status_reason
        removal = await rob.remove_cluster("edge", force=True)
        await rob.wait_operation(removal.id, DEADLINE_S)
        assert await rob.clusters() == ()
        assert await rob.hosts() == ()
        assert not credentials.cluster_directory("edge").exists()
        assert ("remove cluster", "edge-gate") not in stage.installer.calls


class Nobody:
    """Is told what a link hears, and does nothing about it."""

    def cluster_changed(self, link: Link) -> None:
        """See `Listener`."""

    async def cluster_event(self, event: m.ClusterEvent) -> None:
        """See `Listener`."""


async def test_frames_of_sessions_come_to_a_granted_root(rig: Rig) -> None:
    await access_file(rig)
    access, way = rig.bus.access(granted_user("rob")), PlainTunnel(rig.bus.port)
    link = Link("edge", access, way, Nobody(), account="rob")
    frames: asyncio.Queue[bytes] = asyncio.Queue()
    link.frames["0" * 32] = frames.put_nowait
    await link.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not link.reachable:
                await asyncio.sleep(0.05)
            # One that the cluster does not know is answered with its end.
            await link.frame("0" * 32, sessions.Flow().frame(sessions.Data(sessions.STDOUT, b"x")))
            assert sessions.ends(await frames.get())
    finally:
        await link.close()


@pytest.mark.slow
async def test_a_newer_access_file_takes_the_place_of_the_old(tmp_path: Path, rig: Rig) -> None:
    stage = Stage(tmp_path, JoiningInstaller({"edge": rig.bus}))
    async with stage.root() as rob:
        given = await access_file(rig)
        await rob.wait_operation((await rob.grants.join(given)).id, DEADLINE_S)
        newer = replace(await access_file(rig), host_keys=given.host_keys)
        await rob.wait_operation((await rob.grants.join(newer)).id, DEADLINE_S)
        assert credentials.known_root_secret("edge") == newer.secret
        for damaged in (
            replace(given, private_key="x"),
            replace(given, kind="something else"),
            replace(given, host_keys=()),
            replace(given, node_subnets="everywhere", cluster="other"),
            replace(given, cluster="../edge"),
        ):
            with pytest.raises(UsageError):
                await rob.grants.join(damaged)
    async with stage.root() as rob:
        await until("it again", lambda: rob.cluster("edge"), lambda c: c.status == "ready")


async def test_the_owners_side_refuses_what_can_not_be(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        with pytest.raises(UsageError, match="can't be the name"):
            await root.grants.grant("edge", GrantRequest("Rob X"))
        with pytest.raises(NotFound):
            await root.grants.grant("nowhere", GrantRequest("rob"))
        with pytest.raises(NotFound, match="handed out once"):
            await root.grants.fetch("edge", "rob")
        assert await root.grants.all("edge") == ()


async def test_a_share_that_is_refused_is_explained(stage: Stage) -> None:
    cluster = await stage.cluster("edge")
    cluster.refuses = "admission: namespace 'demo' is not among root's: prod"
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until(
            "the refusal",
            lambda: root.explain("Rec"),
            lambda found: any(
                v.reasons == (cluster.refuses,) for d in found.decisions for v in d.verdicts
            ),
        )
        events = [event async for event in root.events() if event.kind == "share.refused"]
        assert len(events) == 1
        cluster.refuses = ""
        await until("the share", lambda: root.cluster("edge"), lambda _: bool(cluster.shares))


def test_secrets_of_an_access_file_are_not_shown() -> None:
    given = AccessFile("edge", "rob", "h", 22, "u", (), "PRIVATE", "SECRET", "c", "t", "n")
    assert "PRIVATE" not in repr(given)
    assert "SECRET" not in repr(given)
