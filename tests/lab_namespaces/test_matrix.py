"""Who reaches whom by which address, with real agents on light hosts, made by the playbooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.lab.slow import Slow
from tests.lab_namespaces.faults import faults_are_named
from tests.lab_namespaces.light_fleet import CLOSEST, RR, WORKERS, LightFleet, light_fleet
from tests.lab_namespaces.looking import the_overlay_says_so
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("kernel_overlay")]
CALLS = 60
SERVERS = ("home1", "home2", "office")
BULK = 1_000_000
NARROW = 1400
KINDS = ("tcp", "udp")


async def test_every_instance_is_reached_from_everywhere(tmp_path: Path) -> None:
    async with light_fleet(tmp_path) as fleet:
        servers = await fleet.place("S", SERVERS)
        clients = await fleet.place("C", WORKERS)
        names = {one.worker: one.name for one in await fleet.root.instances("S")}
        assert set(servers) == set(SERVERS)
        own = {f"{servers[each]} {kind}": [names[each]] for each in SERVERS for kind in KINDS}
        for host in WORKERS:
            for within in (clients[host], ""):
                await covers_all(fleet, host, within, set(names.values()))
                said = await fleet.run(host, "ask", "1", *servers.values(), within=within)
                assert said == own, (host, within)
            addresses = " ".join((*servers.values(), *clients.values()))
            ping = f"for each in {addresses}; do ping -q -c 1 -w 30 $each || exit 1; done"
            await fleet.shell(host, f"ip netns exec oak-{clients[host]} sh -c '{ping}'")
        for worker, address in servers.items():  # and an instance itself
            said = await fleet.run(worker, "ask", "1", address, within=address)
            assert said == {f"{address} {kind}": [names[worker]] for kind in KINDS}
            await covers_all(fleet, worker, address, set(names.values()))
        await the_overlay_says_so(fleet)
        await narrow_paths(fleet, servers, clients)
        await the_nearest_is_closest(fleet, names, clients["edge"])
        await faults_are_named(fleet, clients["edge"])


async def covers_all(fleet: LightFleet, host: str, within: str, names: set[str]) -> None:
    """All of them, and only them, take turns; once the tables have come."""
    await until(
        f"{host} {within}: all of them",
        lambda: fleet.run(host, "ask", str(CALLS), RR, within=within),
        lambda found: all(set(answers) == names for answers in found.values()),
    )


async def narrow_paths(fleet: LightFleet, servers: dict[str, str], clients: dict[str, str]) -> None:
    """A megabyte fits through where the path's packets are smaller than the cable's."""
    for host in SERVERS:
        await fleet.shell(host, f"ip link set eth0 mtu {NARROW}")
    for host, within in (("edge", clients["edge"]), ("home1", clients["home1"])):
        for address in (*servers.values(), RR):
            assert await fleet.run(host, "bulk", address, str(BULK), within=within) == BULK


async def the_nearest_is_closest(fleet: LightFleet, names: dict[str, str], client: str) -> None:
    """By the round-trip that the lab really has, and whenever that changes."""
    for nearest in ("home2", "office"):
        for worker in SERVERS:
            await fleet.lab.slow_host(worker, Slow(2.0 if worker == nearest else 40.0))
        await until(
            f"{nearest} to be the closest",
            lambda: fleet.run("edge", "ask", "3", CLOSEST, within=client),
            lambda found, nearest=nearest: leads_to(found) == {names[nearest]},
        )
    # An instance of the own node is nearer than any other.
    assert leads_to(await fleet.run("home1", "ask", "3", CLOSEST)) == {names["home1"]}


def leads_to(found: dict[str, list[str]]) -> set[str]:
    """Everybody who answered."""
    return {answer for answers in found.values() for answer in answers}
