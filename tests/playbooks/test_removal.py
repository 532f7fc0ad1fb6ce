"""A removal leaves nothing of its role, from wherever the host is, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.lab import processes
from oakctl.remote.step import Cancelled
from tests.playbooks.conftest import Host

pytestmark = pytest.mark.slow


def started_by_us(host: Host) -> list[str]:
    """Processes on the host whose arguments lie below our folder."""
    words = [
        Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for process in processes.of_lab(host.lab.id)
    ]
    return [line for line in words if str(host.prefix) in line]


async def test_a_role_goes_and_the_other_stays(host: Host) -> None:
    before = sorted(host.prefix.parent.rglob("*"))
    access = await host.cluster()
    cluster_alone = {p for p in host.prefix.rglob("*") if "state" not in p.parts}
    pids = await host.pids()
    await host.worker(access)

    await host.remove("worker")
    left = {p for p in host.prefix.rglob("*") if "state" not in p.parts}
    assert left - cluster_alone == set()
    assert await host.pids() == pids

    await host.remove("worker")
    assert host.done() == []

    await host.remove("cluster")
    assert sorted(host.prefix.parent.rglob("*")) == before
    assert not host.listens()
    assert started_by_us(host) == []

    await host.remove("cluster")
    assert host.done() == ["uninstall: all that is left"], "the lock of the run itself"
    assert sorted(host.prefix.parent.rglob("*")) == before


async def test_the_orchestrator_goes_and_the_worker_stays(host: Host) -> None:
    access = await host.cluster()
    await host.worker(access)
    pids = await host.pids()
    await host.remove("cluster")
    assert set(await host.states()) == {"agent", "relay"}
    assert (await host.pids())["agent"] == pids["agent"]
    assert not (host.prefix / "etc" / "bus").exists()
    await host.remove("worker")
    assert not host.prefix.exists()


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
async def test_from_half_way_there(host: Host, steps: int) -> None:
    """Interrupted after some steps of a bootstrap, the host is made empty again."""
    before = sorted(host.prefix.parent.rglob("*"))
    with pytest.raises(Cancelled):
        await host.cluster(lambda event: len(host.done()) >= steps)
    assert len(host.done()) == steps
    await host.remove("cluster")
    assert sorted(host.prefix.parent.rglob("*")) == before
    assert not host.listens()


async def test_interrupted_after_every_step_it_carries_on(host: Host) -> None:
    before = sorted(host.prefix.parent.rglob("*"))
    access = await host.cluster()
    await host.worker(access)
    for role in ("worker", "cluster"):
        pieces = await host.in_pieces(lambda stop, role=role: host.remove(role, stop))
        assert all(len(piece) == 1 for piece in pieces[:-1])
        assert len(pieces) > 2
    assert sorted(host.prefix.parent.rglob("*")) == before
    assert started_by_us(host) == []


async def test_a_folder_of_somebody_else_stays(host: Host) -> None:
    theirs = host.prefix / "notes" / "shopping"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("bread")
    await host.remove("worker")
    assert theirs.read_text() == "bread"
    assert [p.name for p in host.prefix.iterdir()] == ["notes"]
