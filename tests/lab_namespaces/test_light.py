"""Labs of light hosts: SSH into a network of their own, power, cables, and nothing left of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from oakctl.errors import Conflict, OakError
from oakctl.lab import loopback, processes
from oakctl.lab.description import LabFiles
from oakctl.lab.loopback import Lab, LabHost
from oakctl.lab.machines import topology
from oakctl.lab.machines.lab_file import Arch, LabPlan, MachineHost, Nat, Site
from oakctl.lab.namespaces import layout, plans
from oakctl.lab.namespaces.line import netem
from oakctl.lab.slow import Slow
from tests.lab_loopback.conftest import connect
from tests.overlay.kernel.nodes import PROGRAMS
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay
from tests.waiting import until

PLAN = LabPlan((MachineHost("hub"), MachineHost("a", site="home")), (Site("home"),))
HOSTS = tuple(LabHost(host.name) for host in PLAN.hosts)
HUB = plans.address(plans.network(PLAN), "hub")
DELAY_MS = 40.0


@pytest.fixture
async def lab(kernel_overlay: None) -> AsyncIterator[Lab]:
    """A public host and one behind a router; whatever the test did to it, nothing is left."""
    try:
        made = await loopback.up("light", HOSTS, network=PLAN)
        yield made
    finally:
        await loopback.down("light")
    assert processes.of_lab(made.id) == []
    assert not made.directory.exists()


async def told(lab: Lab, host: str, script: str) -> str:
    """What a command on the host prints."""
    async with connect(lab.host(host)) as client:
        answer = await client.run(script)
    return str(answer.stdout)


async def round_trip_ms(lab: Lab) -> float:
    """The least of some from host a to the hub."""
    said = await told(lab, "a", f"ping -q -c 4 -i 0.05 -w 60 {HUB}")
    return float(re.findall(r"= ([\d.]+)/", said)[0])


@pytest.mark.slow
async def test_a_light_host_is_reached_and_has_its_own_network_and_processes(lab: Lab) -> None:
    said = await told(lab, "a", "hostname; id -u; pwd; ip -brief -4 address; ps -e -o pid=,args=")
    name, user, home, *rest = said.splitlines()
    assert (name, user, home) == ("a", "0", str(lab.directory / "homes" / "a"))
    assert "198.18.2.2/24" in said
    assert "1 cat" in [" ".join(line.split()) for line in rest]
    async with connect(lab.host("hub")) as client:
        command = f"exec python3 -S {PROGRAMS} serve hub 7000"
        server = await client.create_process(command)
        assert await server.stdout.readline() == "ready\n"
        reader, writer = await client.open_connection(HUB, 7000, encoding="utf-8")
        writer.write("?\n")
        assert (await reader.readline()).split() == ["hub", HUB]
        seen = await told(lab, "a", f"python3 -S {PROGRAMS} ask {HUB} 7000 1 tcp")
        assert "hub 198.18.0.201" in seen  # the router's own address
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_connection(HUB, 7001)


@pytest.mark.slow
async def test_cables_are_pulled_slowed_down_and_healed(lab: Lab) -> None:
    await lab.slow_host("a", Slow(DELAY_MS))
    assert await round_trip_ms(lab) >= 2 * DELAY_MS
    await lab.slow_host("a", Slow(loss=0.5))
    said = await told(lab, "a", f"ping -q -c 40 -i 0.02 -w 60 {HUB}")
    assert 5 < float(re.findall(r"([\d.]+)% packet loss", said)[0]) < 100
    await lab.cut_host("a")
    assert loopback.load("light").cut == ("a",)
    with pytest.raises(OSError, match="2222"):
        await told(lab, "a", "true")
    await lab.heal_host("a")
    assert "0% packet loss" in await told(lab, "a", f"ping -q -c 20 -i 0.02 -w 60 {HUB}")
    await until("a fast cable", lambda: round_trip_ms(lab), lambda found: found < 2 * DELAY_MS)


@pytest.mark.slow
async def test_a_cable_that_cannot_be_slow_stays_as_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await loopback.down("light")
    for program in ("tc", "setpriv"):  # neither the kernel's way nor ours
        (tmp_path / program).symlink_to("/bin/false")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    again = await loopback.up("light", HOSTS, network=PLAN)
    with pytest.raises(OakError, match="cannot be slowed down") as caught:
        await again.slow_host("a", Slow(DELAY_MS))
    assert "/dev/net/tun" in caught.value.hint
    await again.stop_host("a")
    await again.start_host("a")
    assert await round_trip_ms(again) > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "power-cut"])
async def test_a_host_that_was_off_comes_back_with_its_units_and_a_new_network(
    lab: Lab, how: str
) -> None:
    unit = '{"name": "u", "argv": ["/bin/sh", "-c", "exec sleep 1000"]}'
    script = (
        "import json, os, socket\n"
        f"ask = {{'op': 'put', 'host': 'a', 'unit': {unit}}}\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(os.environ['OAKCTL_SUPERVISOR'].partition(':')[2])\n"
        "s.sendall(json.dumps(ask).encode() + b'\\n')\n"
        "print(json.loads(s.makefile().readline())['units']['u']['pid'])\n"
    )
    async with connect(lab.host("a")) as client:
        answer = await client.run("ip link add extra type bridge; python3 -", input=script)
        said = str(answer.stdout)
    # The number is the one that the host itself knows its unit by.
    assert "sleep" in await told(lab, "a", f"cat /proc/{int(said)}/comm")
    await (lab.stop_host("a") if how == "stop" else lab.power_cut("a"))
    assert loopback.load("light").on == ("hub",)
    assert processes.of_lab(lab.id, "a") == []
    await lab.start_host("a")
    running = await told(lab, "a", "ps -e -o args=; ip -brief link")
    assert "sleep 1000" in running
    assert "extra" not in running
    assert await round_trip_ms(lab) > 0


@pytest.mark.slow
async def test_all_of_it_ends_with_its_keeper_and_up_brings_it_back(lab: Lab) -> None:
    os.kill(lab.keeper, signal.SIGKILL)
    await until("the lab's end", lambda: not processes.of_lab(lab.id))
    with pytest.raises(Conflict):
        await loopback.up("light", HOSTS)  # of another kind
    again = await loopback.up("light", HOSTS, network=PLAN)
    assert again.on == ("hub", "a")
    assert await round_trip_ms(again) > 0


async def test_hosts_of_a_loopback_lab_have_no_cables(tmp_path: Path) -> None:
    try:
        lab = await loopback.up("plain", (LabHost("one"),))
        with pytest.raises(OakError, match="no cables"):
            await lab.cut_host("one")
        assert not lab.light
    finally:
        await loopback.down("plain")


def test_one_host_of_the_network_is_its_cable_and_its_way_out() -> None:
    whole = plans.network(PLAN)
    assert not [bridge for bridge in whole.bridges if bridge.name == "mgm"]
    alone = plans.host_alone(whole, "a")
    assert [(link.a.node, link.b.node) for link in alone.links] == [("host-a", "site-home")]
    assert [route.node for route in alone.routes] == ["host-a"]
    commands = topology.missing(plans.without_hosts(whole, ["a"]), {})
    assert not [each for each in commands if "host-a" in " ".join((each.node, *each.argv))]


def test_what_light_hosts_cannot_have_is_said() -> None:
    plan = LabPlan((MachineHost("a"), MachineHost("b", docker=True, arch=Arch.ARM64)))
    (line,) = layout.not_followed(plan)
    assert line.startswith("host b: not followed: arch: arm64, docker: true")
    assert layout.not_followed(layout.DEMO_PLAN) == []
    assert {site.nat for site in layout.DEMO_PLAN.sites} == {Nat.PORT_RESTRICTED, Nat.SYMMETRIC}


def test_the_kernels_own_way_of_being_slow() -> None:
    words = " ".join(netem("h1", Slow(20, 0.01)))
    assert words == "tc qdisc replace dev h1 root netem delay 20ms loss 1.0% limit 100000"


def test_the_socket_of_a_lab_is_the_one_that_its_keeper_was_given(tmp_path: Path) -> None:
    assert LabFiles("x", tmp_path / "s").socket == tmp_path / "s"
