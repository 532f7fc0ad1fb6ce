"""A newer release comes to one machine, and goes again when it does not become ready."""

from __future__ import annotations

import pytest

from oakctl.errors import Conflict, OakError, Unreachable
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.orchestration.root import means
from oakctl.remote import bundle
from tests.root.stage import Stage, populate


@pytest.fixture
def release() -> str:
    return bundle.version(bundle.build().read_bytes())


async def test_a_worker_is_ready_from_the_new_release(stage: Stage, release: str) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        edge.release = release
        for begun in (await root.upgrade_cluster("edge"), await root.upgrade_worker("edge", "w1")):
            ended = await root.wait_operation(begun.id, 30)
            assert ended.kind == "fleet upgrade"
        assert (await root.cluster("edge")).release == release
        assert not [call for call in stage.installer.calls if "roll back" in call[0]]


@pytest.mark.parametrize("role", ["cluster", "worker"])
async def test_one_that_is_not_ready_in_time_goes_back(
    stage: Stage, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        monkeypatch.setattr(means, "READY_TIMEOUT_S", 1.0)
        begun = (
            await root.upgrade_cluster("edge")
            if role == "cluster"
            else await root.upgrade_worker("edge", "w1")
        )
        again = r"failed on edge-.*; the release before runs again"
        with pytest.raises(OakError, match=again) as failed:
            await root.wait_operation(begun.id, 30)
        assert failed.value.details == ("it broke",)
        host = "edge-o" if role == "cluster" else "edge-w"
        assert (f"roll back {role}", host) in stage.installer.calls
        assert (await root.worker("edge", "w1")).status == "ready"


async def test_a_step_that_fails_goes_back_and_a_lost_host_does_not(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.fail = OakError("edge-w: agent does not stay up")
        begun = await root.upgrade_worker("edge", "w1")
        with pytest.raises(OakError, match="does not stay up; the release before runs again"):
            await root.wait_operation(begun.id, 30)
        stage.installer.calls.clear()
        stage.installer.fail = Unreachable("edge-w does not answer")
        begun = await root.upgrade_worker("edge", "w1")
        with pytest.raises(Unreachable):
            await root.wait_operation(begun.id, 30)
        assert stage.installer.calls == [("worker", "edge-w")]


async def test_only_what_is_ready_is_upgraded(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.fail = OakError("no")
        await root.wait_operation((await root.remove_worker("edge", "w1", force=True)).id, 30)
        begun = await root.add_worker(WorkerAdd("w1", "edge", "edge-w"))
        with pytest.raises(OakError):
            await root.wait_operation(begun.id, 30)
        with pytest.raises(Conflict, match="worker edge/w1 is joining"):
            await root.upgrade_worker("edge", "w1")


async def test_asked_for_again_there_is_nothing_to_do(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.holds = True
        stage.installer.calls.clear()
        for begun in (
            await root.create_cluster(ClusterCreate("edge", "edge-o")),
            await root.add_worker(WorkerAdd("w1", "edge", "edge-w", accept_new=True)),
        ):
            ended = await root.wait_operation(begun.id, 30)
            assert {step.state for step in ended.steps} == {"skipped"}
        assert {call[0] for call in stage.installer.calls} == {"facts"}
        with pytest.raises(Conflict, match="cluster edge already") as refused:
            await root.create_cluster(ClusterCreate("edge", "edge-o", "spread"))
        assert refused.value.details == ("policy: rom → spread",)
        with pytest.raises(Conflict, match="worker edge/w1 already") as refused:
            await root.add_worker(WorkerAdd("w1", "edge", "edge-o", labels={"room": "hall"}))
        assert refused.value.details == ("host: edge-w → edge-o", "label room: - → hall")


async def test_what_does_not_hold_any_more_is_mended(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        stage.installer.calls.clear()
        begun = await root.add_worker(WorkerAdd("w1", "edge", "edge-w"))
        ended = await root.wait_operation(begun.id, 30)
        assert "done" in {step.state for step in ended.steps}
        assert stage.installer.calls[-1] == ("worker", "edge-w")
