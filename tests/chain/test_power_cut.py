"""A host loses its power: what ran there is gone with it, and runs elsewhere soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.lab import processes
from oakctl.model.requests import ApplyRequest
from tests.chain.fleet import fleet, until
from tests.chain.test_kills import DESCRIPTOR, instance_processes, pack_sleeper, settled


@pytest.mark.slow
async def test_instances_of_a_dead_host_run_on_another(tmp_path: Path) -> None:
    expected = {"steady": 2}
    async with fleet() as (lab, root):
        sha256 = await root.upload_artifact(pack_sleeper(tmp_path))
        descriptor = DESCRIPTOR.format(name="steady", replicas=2)
        await root.apply(ApplyRequest(descriptor, {"./app": sha256}))
        await until("two instances", lambda: settled(lab, root, expected))
        victim = (await root.instances())[0].worker

        await lab.power_cut(f"edge-{victim}")
        assert processes.of_lab(lab.id, f"edge-{victim}") == []
        assert len(instance_processes(lab)) < 2

        async def moved() -> bool:
            places = {one.worker for one in await root.instances()}
            return victim not in places and await settled(lab, root, expected)

        await until("both run on the other host", moved)

        await lab.start_host(f"edge-{victim}")

        async def back() -> bool:
            return (await root.worker("edge", victim)).status == "ready"

        await until("the worker is back", back)
        await until("nothing is doubled", lambda: settled(lab, root, expected))
