"""What becomes of a hundred new connections a second, and of long ones, as nodes go."""

# ruff: noqa: T201

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab_namespaces.light_fleet import RR, WORKERS, LightFleet, light_fleet
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay
from tests.waiting import until

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1500),
    pytest.mark.usefixtures("kernel_overlay"),
]


async def test_under_load(tmp_path: Path) -> None:
    async with light_fleet(tmp_path) as fleet:
        only = await fleet.place("S", ("home1",))
        clients = await fleet.place("C", ("edge", "home1"))
        client = clients["edge"]
        await the_only_one_killed(fleet, clients, only["home1"])
        servers = await fleet.place("S", ("home1", "home2", "office"))
        await fleet.only(*WORKERS)
        await until("answers", lambda: answers(fleet, client), lambda found: len(found) == 3)
        await a_drained_node(fleet, client)
        await a_killed_neighbour(fleet, clients["home1"], servers["home1"])
        await a_power_cut(fleet, client, "office")


async def test_without_root_and_orchestrator(tmp_path: Path) -> None:
    async with light_fleet(tmp_path) as fleet:
        await fleet.place("S", ("home1", "office"))
        client = (await fleet.place("C", ("edge",)))["edge"]
        await fleet.only(*WORKERS)
        await until("answers", lambda: answers(fleet, client), lambda found: len(found) == 2)
        await fleet.without_cluster()
        async with fleet.load("edge", client, RR) as found:
            await fleet.lab.power_cut("office")
            await until("one answer", lambda: answers(fleet, client), lambda left: len(left) == 1)
        assert refused(found) == []
        assert found["long"]["udp"][-1] != "lost"


async def answers(fleet: LightFleet, client: str) -> set[str]:
    """Who answers new flows from host edge."""
    found = await fleet.run("edge", "ask", "30", RR, within=client)
    return {answer for each in found.values() for answer in each}


def refused(found: dict[str, Any]) -> list[str]:
    """New connections that did not come about."""
    assert found["answers"], found
    return [fault for fault in found["faults"] if fault.startswith("no connection")]


async def the_only_one_killed(fleet: LightFleet, clients: dict[str, str], address: str) -> None:
    """Whoever calls while it is away is not refused, on its node or elsewhere: it is waited for."""
    async with (
        fleet.load("home1", clients["home1"], RR) as near,
        fleet.load("edge", clients["edge"], RR) as far,
    ):
        await fleet.kill("home1", address)
        await until(
            "it to be missed",
            lambda: fleet.root.service("S"),
            lambda service: service.ready < service.wanted,
        )
        await fleet.ready("S")
    for where, found in (("its node", near), ("another node", far)):
        print(f"the only one killed, from {where}: {sum(found['answers'].values())} calls,",
              found["faults"], f"longest {found['longest_ms']:.0f} ms")  # fmt: skip
        assert refused(found) == []


async def a_drained_node(fleet: LightFleet, client: str) -> None:
    """Nothing is lost: neither a connection nor a datagram."""
    async with fleet.load("edge", client, RR) as found:
        await fleet.root.drain("edge", "home2")
        await until(
            "home2 to be empty",
            lambda: fleet.root.instances("S"),
            lambda there: "home2" not in {one.worker for one in there},
        )
        await fleet.ready("S")
    assert found["faults"] == []
    assert "lost" not in found["long"]["udp"]


async def a_killed_neighbour(fleet: LightFleet, client: str, address: str) -> None:
    """It costs what was under way there; what comes next goes elsewhere, and waits for no probe."""
    async with fleet.load("home1", client, RR) as found:
        await fleet.kill("home1", address)
        await until(
            "it to be missed",
            lambda: fleet.root.service("S"),
            lambda service: service.ready < service.wanted,
        )
        await fleet.ready("S")
    print("killed on the same node:", found["faults"], f"longest {found['longest_ms']:.0f} ms")
    assert sum(found["answers"].values()) > len(found["faults"]) * 10


async def a_power_cut(fleet: LightFleet, client: str, host: str) -> None:
    """No new connection fails; datagrams and long connections go on elsewhere."""
    async with fleet.load("edge", client, RR) as found:
        await fleet.lab.power_cut(host)
        await until(
            "its end to be known",
            lambda: fleet.root.instances("S"),
            lambda there: host not in {one.worker for one in there},
        )
    print("power cut:", found["faults"], f"longest {found['longest_ms']:.0f} ms", found["long"])
    assert refused(found) == []
    assert found["long"]["udp"][-1] != "lost"
