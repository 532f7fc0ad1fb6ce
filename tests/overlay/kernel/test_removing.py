"""What is left of the overlay on a host when it goes, or when its agent has another subnet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import until_now

from .nodes import A1, A2, GATEWAY_A, Node, state_of, table, target
from .requirements import REPOSITORY

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


def test_removal_leaves_nothing(make_node: MakeNode) -> None:
    a = make_node("a")
    a.call("remove")
    a.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    # A kernel says that a cable has its carrier some time after both ends are up.
    until_now("its cable", lambda: "LOWER_UP" in a.run("ip", "-brief", "link", "show", "eth0"))
    before = state_of(a)
    a.call("start")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1), published=8080))
    assert state_of(a) != before
    a.kill()
    a.start()  # another process than the one that made it
    a.call("remove")
    assert state_of(a) == before


def test_packets_are_forwarded_on_for_a_docker_that_came_later(make_node: MakeNode) -> None:
    a = make_node("a")
    a.call("remove")
    a.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    a.call("start")
    a.run("iptables", "-N", "DOCKER-USER")
    a.call("remove")
    try:
        assert a.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"
    finally:
        a.run("iptables", "-X", "DOCKER-USER")


OF_AN_AGENT = """
import sys
from oakctl.model.config import BusAccess, WorkerConfig
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay, follow, remove
prefix, *subnets = sys.argv[1:]
bus = BusAccess("", "edge", "", "a", "")
config = WorkerConfig("a", "edge", prefix, bus, overlay_driver="kernel")
"""
FOLLOWING = """
overlay = KernelOverlay(config, lambda: subnets[0])
strangers = {f"10.18.9.{number}": (int(subnets[1]), True) for number in range(50)}
follow(overlay, {"10.18.0.66": (int(subnets[1]), True), **strangers})
overlay.wait(60)
print(*overlay.driver().attached())
"""
ENROLLED_ANEW = """
overlay = KernelOverlay(config, lambda: subnets[0])
if not subnets:
    remove(config)
while subnets:
    print(overlay.key(), *sorted(overlay.driver().attached()))
    overlay.driver().attach(subnets[0].replace(".64/26", ".66"))
    subnets.pop(0)
"""


def of_an_agent(code: str, folder: Path) -> tuple[str, ...]:
    """The command line of what is on the agent's side of the overlay."""
    program = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", OF_AN_AGENT + code)
    return (*program, str(folder / "prefix"))


def test_one_that_cannot_be_attached_is_not_in_the_way_of_others(
    make_node: MakeNode, tmp_path: Path
) -> None:
    a = make_node("a")
    a.apart("one")
    number = a.run("pgrep", "-f", "serve one ").split()[0]
    assert a.run(*of_an_agent(FOLLOWING, tmp_path), a.subnet, number) == f"{A1}\n"


def test_of_a_former_subnet_nothing_stays_but_the_key(make_node: MakeNode, tmp_path: Path) -> None:
    a = make_node("a")
    a.call("remove")
    before = state_of(a)
    words = of_an_agent(ENROLLED_ANEW, tmp_path)
    first = a.run(*words, "10.18.0.64/26", "10.18.2.64/26").split()
    # The agent ended before it had taken all of it away, or was told while it was not there.
    a.run("ip", "address", "add", GATEWAY_A, "dev", "oak0")
    a.run("ip", "netns", "add", f"oak-{A2}")
    again = a.run(*words, "10.18.2.64/26").split()
    assert (len(set(first)), again) == (1, [first[0], "10.18.2.66"])
    assert a.run("ip", "netns", "list").split()[0] == "oak-10.18.2.66"
    assert "10.18.0." not in a.run("ip", "route", "show", "dev", "oak0")
    assert "10.18.0." not in a.run("ip", "address", "show", "dev", "oak0")
    a.run(*words)  # of whatever subnet: no document says it
    assert state_of(a) == before
    assert not list((tmp_path / "prefix").rglob("wireguard.key"))
