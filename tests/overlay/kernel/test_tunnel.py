"""Traffic between nodes: WireGuard through real routers, by the program or the kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oakctl.lab.machines.lab_file import Nat, Site
from oakctl.model.overlay import TUNNEL_PORT

from .conftest import MakeNode
from .nodes import RR, Node, end, table, target

pytestmark = pytest.mark.slow
HUB, PUBLIC, HOME, OFFICE = "10.18.0.2", "10.18.0.194", "10.18.1.2", "10.18.1.66"
KEYS = re.compile(r"[A-Za-z0-9+/]{43}=")


def endpoint(node: Node) -> str:
    return f"{node.lab.address(node.host)}:{TUNNEL_PORT}"


def related(hub: Node, *others: Node) -> None:
    """The hub is the relay of the others."""
    known = [hub.known_as(endpoint(hub), relay=True), *(other.known_as() for other in others)]
    for node in (hub, *others):
        node.connect(*known)


def test_nodes_behind_routers_reach_each_other_and_services_through_the_relay(
    make_site_node: MakeNode,
) -> None:
    hub, home, office = (make_site_node(name) for name in ("hub", "home", "office"))
    home.serve(HOME, "home")
    office.serve(OFFICE, "office")
    hub.call("attach", HUB)
    related(hub, home, office)
    targets = (target("home", HOME), target("office", OFFICE))
    for node in (hub, home, office):
        node.apply(table(*targets))
    assert home.ask(HOME, OFFICE) == [f"office {HOME}"]
    for node, client in ((hub, HUB), (home, HOME), (office, "")):
        answers = node.ask(client, RR, 30)
        assert {answer.split()[0] for answer in answers} == {"home", "office"}
        assert set(node.ask(client, RR, 10, "udp")) <= set(answers)
    assert office.ask("", HOME) == ["home 10.18.1.65"]


def test_a_second_time_changes_nothing_and_what_was_learned_stays(
    make_site_node: MakeNode,
) -> None:
    hub, home = make_site_node("hub"), make_site_node("home")
    home.serve(HOME, "home")
    related(hub, home)
    assert hub.ask("", HOME) == ["home 10.18.0.1"]
    # The router forgets, and gives another port.
    home.lab.set_site(Site("home", Nat.SYMMETRIC))
    home.lab.router("home", ("sh", "-c", "ip link set wan0 down; ip link set wan0 up"))
    home.lab.router("home", ("ip", "route", "replace", "default", "via", "198.18.0.254"))
    known = [hub.known_as(endpoint(hub), relay=True), home.known_as()]
    for _ in range(3):
        assert hub.connect(*known) is False
        assert home.connect(*known) is False
    assert home.ask("", "10.18.0.1", port=9) == ["ConnectionRefusedError"]
    assert hub.ask("", HOME) == ["home 10.18.0.1"]
    assert hub.call("problems") == home.call("problems") == []
    home.lab.set_site(Site("home"))


def test_without_a_relay_nodes_send_to_each_other(make_site_node: MakeNode) -> None:
    hub, public, home = (make_site_node(name) for name in ("hub", "public", "home"))
    hub.serve(HUB, "hub")
    public.serve(PUBLIC, "public")
    home.call("attach", HOME)
    known = [hub.known_as(endpoint(hub)), public.known_as(endpoint(public)), home.known_as()]
    for node in (hub, public, home):
        node.connect(*known)
    assert public.ask("", HUB) == ["hub 10.18.0.193"]
    assert home.ask(HOME, HUB) == [f"hub {HOME}"]
    assert home.ask(HOME, PUBLIC) == [f"public {HOME}"]
    # Who is gone from the list is not led to any more.
    assert public.connect(known[1], known[2]) is True
    assert public.ask("", HUB) == ["OSError"]


def test_the_private_key_is_made_once_and_is_only_its_owners(
    make_site_node: MakeNode, tmp_path: Path
) -> None:
    hub = make_site_node("hub")
    key = hub.call("public_key")
    assert KEYS.fullmatch(key)
    file = tmp_path / "hub" / "wireguard.key"
    assert file.stat().st_mode & 0o777 == 0o600
    hub.kill()
    hub.start()
    assert hub.call("public_key") == key
    assert file.read_text().strip() != key


def test_another_wireguard_on_the_port_is_told_and_got_around(make_site_node: MakeNode) -> None:
    hub, home = make_site_node("hub"), make_site_node("home")
    stranger = home.hear("", TUNNEL_PORT)
    try:
        hub.serve(HUB, "hub")
        related(hub, home)
        assert home.ask("", HUB) == ["hub 10.18.1.1"]
        assert ["port 51820 is taken" in each for each in home.call("problems")] == [True]
    finally:
        end(stranger)
    assert home.call("problems") == []
    assert home.ask("", HUB) == ["hub 10.18.1.1"]


def test_a_tunnel_that_somebody_ended_is_told_and_made_anew(make_site_node: MakeNode) -> None:
    hub, home = make_site_node("hub"), make_site_node("home")
    hub.serve(HUB, "hub")
    related(hub, home)
    assert home.ask("", HUB) == ["hub 10.18.1.1"]
    home.run("ip", "link", "delete", "oakwg0")
    assert ["tunnel" in each for each in home.call("problems")] == [True]
    assert home.ask("", HUB) == ["hub 10.18.1.1"]
    assert home.call("problems") == []


def test_the_tunnel_goes_on_without_the_agent_and_a_new_one_takes_it_over(
    make_site_node: MakeNode,
) -> None:
    hub, home = make_site_node("hub"), make_site_node("home")
    hub.serve(HUB, "hub")
    related(hub, home)
    for node in (hub, home):
        node.kill()
    assert home.ask("", HUB) == ["hub 10.18.1.1"]
    for node in (hub, home):
        node.start()
    related(hub, home)
    assert home.ask("", HUB) == ["hub 10.18.1.1"]
    home.call("remove")
    assert "oakwg0" not in home.run("ip", "link")
    assert "10.18." not in home.run("ip", "route", "show", "table", "all")
