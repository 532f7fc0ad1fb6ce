"""Faults of a real overlay, and the line by which its status names each.

Belongs here: what is broken, and which words are waited for. Does not belong here: verdicts from
made-up answers (`tests/root/test_overlay.py`).
"""

from __future__ import annotations

from oakctl.lab import control
from oakctl.lab.description import LabFiles
from oakctl.model.overlay_views import Trouble
from tests.lab_namespaces.light_fleet import RR, LightFleet
from tests.waiting import until

WAIT_S = 240.0


async def told(fleet: LightFleet, where: str, words: str) -> Trouble:
    """The trouble with these words, as soon as it is told."""

    async def look() -> Trouble | None:
        view = await fleet.root.overlay.view()
        found = (t for t in view.troubles if t.where == where and words in t.words)
        return next(found, None)

    trouble = await until(f"{where}: {words}", look, wait_s=WAIT_S)
    assert trouble is not None
    assert trouble.hint
    return trouble


async def unit(fleet: LightFleet, operation: str, host: str, name: str) -> None:
    """What the host's supervisor is told of one of our units."""
    request = {"op": operation, "host": host, "name": name}
    await control.ask(LabFiles(fleet.lab.name).socket, request, timeout_s=WAIT_S)


async def faults_are_named(fleet: LightFleet, client: str) -> None:
    """With S on some hosts, and a client of it on host edge; calls go on through all of it."""

    async def calls_go_on() -> None:
        found = await fleet.run("edge", "ask", "6", RR, within=client)
        answers = [each for kind in found.values() for each in kind]
        assert answers
        assert [each for each in answers if ".instance." not in each] == []

    await fleet.shell("home2", "nft flush ruleset")
    mended = await told(fleet, "edge/home2", "it was loaded anew (at ")
    assert mended.severity == "note"
    await calls_go_on()

    await unit(fleet, "stop", "office", "agent")
    silent = await told(fleet, "edge/office", "its agent is dead: silent for ")
    assert "its tables are as of " in silent.words
    assert silent.hint == "oakctl worker show edge/office"
    await calls_go_on()
    await unit(fleet, "start", "office", "agent")

    for name in ("orchestrator", "bus"):
        await unit(fleet, "stop", "edge", name)
        away = await told(fleet, "edge", "its nodes go on by what they were told last")
        assert away.hint == "oakctl cluster show edge"
        await calls_go_on()
        await unit(fleet, "start", "edge", name)
        await until(
            f"the cluster to answer after its {name} came back",
            fleet.root.overlay.view,
            lambda view: not any(cluster.fault for cluster in view.clusters),
            wait_s=WAIT_S,
        )
