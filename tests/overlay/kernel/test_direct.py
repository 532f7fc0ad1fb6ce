"""Direct paths between nodes behind real routers: found where they can be, left when they die."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model.overlay import LAN, SEEN, TUNNEL_PORT, Candidate, OverlayNode
from oakctl.model.overlay_report import DIRECT, RELAYED
from tests import waiting

from .conftest import SUBNETS
from .nodes import RR, Node, end, say, table, target

pytestmark = pytest.mark.slow

HOSTS = ("hub", "public", "home", "near", "office", "shop", "cafe")
AT = {name: f"{SUBNETS[name].rpartition('.')[0]}.{int(SUBNETS[name].rpartition('.')[2][:-3]) + 2}"
      for name in HOSTS}  # fmt: skip
WAIT_S = 120.0
_SHOWN = ("allowed-ips", "endpoints")


@pytest.fixture(scope="module")
def town(kernel_overlay: None) -> Iterator[NamespaceLab]:
    """Two public hosts, two behind one cone, one behind another, two behind symmetric routers."""
    hosts = (
        MachineHost("hub"),
        MachineHost("public"),
        MachineHost("home", site="home"),
        MachineHost("near", site="home"),
        MachineHost("office", site="office"),
        MachineHost("shop", site="shop"),
        MachineHost("cafe", site="cafe"),
    )
    sites = (
        Site("home"), Site("office"), Site("shop", Nat.SYMMETRIC), Site("cafe", Nat.SYMMETRIC),
    )  # fmt: skip
    with NamespaceLab(LabPlan(hosts, sites)) as made:
        yield made


class Town:
    """The nodes of a test; each has one instance that all others have in their tables."""

    def __init__(
        self, lab: NamespaceLab, directory: Path, *names: str, cloud: tuple[str, ...] = ()
    ) -> None:
        self.lab = lab
        self._cloud = cloud  # the first of these is the relay of the others
        self._relays = ("hub", *cloud[:1])
        self.seen_kinds: dict[tuple[str, str], set[str]] = {}
        self.known: list[OverlayNode] = []
        self.nodes = {
            name: Node(lab, name, SUBNETS[name], directory / name, "library", True)
            for name in ("hub", *names)
        }
        for name in names:
            self.nodes[name].serve(AT[name], name)
        self.meet()
        targets = [target(name, AT[name]) for name in names]
        for name in names:
            self.nodes[name].apply(table(*targets))

    def meet(self) -> None:
        """Tell all of each other, as an orchestrator does with what the relay has seen."""
        self._connect({})
        seen = waiting.until_now(
            "relays to see them all",
            self._seen,
            lambda seen: seen.keys() >= set(self.nodes) - set(self._relays),
        )
        self._connect(seen)

    def path(self, here: str, there: str) -> Any:
        told = self.nodes[here].call("paths")
        found = next(each for each in told if each["worker"] == there)
        self.seen_kinds.setdefault((here, there), set()).add(found["kind"])
        return found

    def until(self, here: str, there: str, kind: str, reason: str = "") -> Any:
        return waiting.until_now(
            f"{here} to be {kind} to {there}",
            lambda: self.path(here, there),
            lambda path: path["kind"] == kind and reason in path["reason"],
            wait_s=WAIT_S,
        )

    def until_tried_again(self, here: str, there: str, since: float) -> None:
        """Wait until the pair was tried once more, and looked at all the while."""
        waiting.until_now(
            f"{here} and {there} to be tried again",
            lambda: self.path(here, there),
            lambda path: path["since"] > since + 1 and "no direct path was found" in path["reason"],
            wait_s=WAIT_S,
        )

    def kinds_seen(self, here: str, there: str) -> set[str]:
        """All kinds that the path had when it was looked at."""
        return self.seen_kinds[(here, there)]

    def peers(self, name: str) -> list[str]:
        """Which subnets a node's tunnel has for whom, and where it sends to."""
        shown = (self.lab.run(name, ("wg", "show", "oakwg0", what)) for what in _SHOWN)
        return sorted(line for text in shown for line in text.splitlines())

    def router(self, site: str) -> str:
        """The public address of a site's router."""
        words = self.lab.router(site, ("ip", "-brief", "-4", "address", "show", "dev", "wan0"))
        return words.split()[2].partition("/")[0]

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def _connect(self, seen: dict[str, str]) -> None:
        self.known = [self._known(name, seen) for name in self.nodes]
        for node in self.nodes.values():
            node.connect(*self.known)

    def _known(self, name: str, seen: dict[str, str]) -> OverlayNode:
        node, address = self.nodes[name], f"{self.lab.address(name)}:{TUNNEL_PORT}"
        candidates = [Candidate(LAN, address)]
        if name in seen:
            candidates.append(Candidate(SEEN, seen[name]))
        relay = name in self._relays
        declared = address if name in ("hub", "public") else ""
        known = node.known_as(declared, relay)
        cluster = "cloud" if name in self._cloud else "edge"
        return replace(known, cluster=cluster, candidates=tuple(candidates))

    def _seen(self) -> dict[str, str]:
        keys = {node.call("public_key"): name for name, node in self.nodes.items()}
        said = (self.nodes[each].run("wg", "show", "oakwg0", "endpoints") for each in self._relays)
        found = (line.split("\t") for lines in said for line in lines.splitlines())
        return {keys[key]: at for key, at in found if key in keys and at != "(none)"}


@pytest.fixture
def make_town(town: NamespaceLab, tmp_path: Path) -> Iterator[Any]:
    made: list[Town] = []

    def make(*names: str, cloud: tuple[str, ...] = ()) -> Town:
        made.append(Town(town, tmp_path, *names, cloud=cloud))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


def test_pairs_that_can_become_direct_and_symmetric_ones_stay_relayed(make_town: Any) -> None:
    town = make_town("public", "home", "near", "office", "shop", "cafe")
    can = {
        ("home", "office"): "its relay sees",
        ("home", "near"): "in the local network",
        ("public", "home"): "",
        ("shop", "public"): "",
    }
    for (here, there), reason in can.items():
        town.until(here, there, DIRECT, reason)
        town.until(there, here, DIRECT, reason)
    # Tried twice, and nothing else than before: packets go by the relay all the time.
    town.until("home", "shop", RELAYED, "no direct path was found")
    town.until("shop", "cafe", RELAYED, "no direct path was found")
    town.until_tried_again("shop", "cafe", town.path("shop", "cafe")["since"])
    assert town.kinds_seen("shop", "cafe") == town.kinds_seen("home", "shop") == {RELAYED}
    for here, there in (*can, ("shop", "cafe"), ("home", "shop")):
        assert town.nodes[here].ask(AT[here], AT[there]) == [f"{there} {AT[here]}"]
        path = town.path(here, there)
        assert path["round_trip_ms"] > 0
        assert path["sent"] > path["lost"]
    # A node whose packets the relay hears from its own router's address is not overwritten.
    assert town.nodes["public"].connect(*town.known) is False


def test_a_direct_path_that_dies_falls_back_with_traffic_going_on(make_town: Any) -> None:
    town = make_town("home", "office")
    town.until("home", "office", DIRECT)
    town.until("office", "home", DIRECT)
    flow = town.nodes["home"].talk(AT["home"], AT["office"], "tcp")
    assert say(flow) == f"office {AT['home']}"
    for rules in (_DEAF, _ONE_WAY):
        town.lab.router("home", ("nft", "-f", "-"), rules.format(town.router("office")))
        for here, there in (("home", "office"), ("office", "home")):
            town.until(here, there, RELAYED, "was lost")
        # The same connection, and no new one is refused.
        assert say(flow) == f"office {AT['home']}"
        assert town.nodes["office"].ask(AT["office"], RR, 5) != []
        town.lab.router("home", ("nft", "delete", "table", "ip", "deaf"))
        for here, there in (("home", "office"), ("office", "home")):
            town.until(here, there, DIRECT)
        assert say(flow) == f"office {AT['home']}"
    end(flow)


def test_nodes_of_two_clusters_become_direct_and_come_back_by_both_relays(make_town: Any) -> None:
    town = make_town("home", "public", "office", cloud=("public", "office"))
    for here, there in (("home", "office"), ("office", "home")):
        town.until(here, there, DIRECT, "its relay sees")
    assert town.nodes["home"].ask(AT["home"], AT["office"]) == [f"office {AT['home']}"]
    # The other cluster's relay passes on for its own, which would not work beside this.
    assert town.path("home", "public")["kind"] == RELAYED
    assert town.nodes["home"].ask(AT["home"], AT["public"]) == [f"public {AT['home']}"]
    town.lab.router("home", ("nft", "-f", "-"), _DEAF.format(town.router("office")))
    for here, there in (("home", "office"), ("office", "home")):
        town.until(here, there, RELAYED, "was lost")
    assert town.nodes["office"].ask(AT["office"], AT["home"]) == [f"home {AT['office']}"]
    assert town.path("home", "office")["relay"] == "hub"
    assert town.path("office", "home")["relay"] == "public"
    town.lab.router("home", ("nft", "delete", "table", "ip", "deaf"))


def test_a_router_that_starts_anew_is_no_end(make_town: Any) -> None:
    town = make_town("home", "office", "public")
    pairs = (("home", "office"), ("office", "home"), ("home", "public"))
    for here, there in pairs:
        town.until(here, there, DIRECT)
    flow = town.nodes["home"].talk(AT["home"], AT["office"], "tcp")
    assert say(flow) == f"office {AT['home']}"
    # It forgets all, and is another router by then: the old ports lead nowhere.
    town.lab.set_site(Site("home", Nat.SYMMETRIC))
    town.lab.router("home", ("conntrack", "-F"))
    assert say(flow) == f"office {AT['home']}"
    for here, there in pairs[:2]:
        town.until(here, there, RELAYED)
    assert town.nodes["home"].ask(AT["home"], AT["public"]) == [f"public {AT['home']}"]
    town.until("home", "public", DIRECT)
    town.lab.set_site(Site("home"))
    town.lab.router("home", ("conntrack", "-F"))
    town.meet()
    for here, there in pairs:
        town.until(here, there, DIRECT)
    assert say(flow) == f"office {AT['home']}"
    end(flow)


def test_an_agent_that_ends_leaves_direct_paths_and_the_next_one_adopts_them(
    make_town: Any,
) -> None:
    town = make_town("home", "office")
    for here, there in (("home", "office"), ("office", "home")):
        town.until(here, there, DIRECT)
    before = town.peers("home")
    for name in ("home", "office"):
        town.nodes[name].kill()
    assert town.peers("home") == before
    for name in ("home", "office"):
        town.nodes[name].start()
    for name in ("home", "office"):
        town.nodes[name].connect(*town.known)
    town.until("home", "office", DIRECT, "found in force")
    assert town.peers("home") == before
    assert town.nodes["home"].call("problems") == []


def test_a_direct_path_that_dies_while_one_agent_is_away(make_town: Any) -> None:
    town = make_town("public", "home", "office")
    home, office = town.nodes["home"], town.nodes["office"]
    for here, there in (("home", "office"), ("office", "home")):
        town.until(here, there, DIRECT)

    def led_to() -> set[str]:
        return {answer.split()[0] for answer in home.ask(AT["home"], RR, 30)}

    all_of_them = {"public", "home", "office"}
    waiting.until_now("all answer", led_to, lambda found: found == all_of_them)
    office.kill()
    assert led_to() == all_of_them
    town.lab.router("home", ("nft", "-f", "-"), _DEAF.format(town.router("office")))
    try:
        # What it kept in force leads nowhere now, so nobody is led there.
        town.until("home", "office", RELAYED, "office still sends there: its agent does not answer")
        waiting.until_now(
            "the others", led_to, lambda found: found == {"public", "home"}, wait_s=WAIT_S
        )
        office.start()
        office.connect(*town.known)
        waiting.until_now("all again", led_to, lambda found: found == all_of_them, wait_s=WAIT_S)
        assert home.ask(AT["home"], AT["office"]) == [f"office {AT['home']}"]
    finally:
        town.lab.router("home", ("nft", "delete", "table", "ip", "deaf"))


def test_a_node_that_roams_keeps_its_connections(make_town: Any) -> None:
    town = make_town("home", "office")
    for here, there in (("home", "office"), ("office", "home")):
        town.until(here, there, DIRECT)
    flow = town.nodes["home"].talk(AT["home"], AT["office"], "tcp")
    assert say(flow) == f"office {AT['home']}"
    old = town.router("home")
    new = f"{old.rpartition('.')[0]}.99"
    for before, after in ((old, new), (new, old)):  # it goes to another network, and comes back
        move = f"ip addr add {after}/24 dev wan0; ip addr del {before}/24 dev wan0"
        # With its first address the kernel drops the others, and the way out.
        move += f"; ip addr replace {after}/24 dev wan0; ip route replace default via 198.18.0.254"
        town.lab.router("home", ("sh", "-c", f"{move}; conntrack -F"))
        assert town.router("home") == after
        assert say(flow) == f"office {AT['home']}"
        assert town.nodes["office"].ask(AT["office"], AT["home"]) == [f"home {AT['office']}"]
    end(flow)


# Nothing from or to a router passes; or only what it is sent.
_DEAF = """table ip deaf {{
 chain out {{ type filter hook forward priority -10; ip daddr {0} drop; ip saddr {0} drop; }}
}}
"""
_ONE_WAY = """table ip deaf {{
 chain out {{ type filter hook forward priority -10; ip saddr {0} drop; }}
}}
"""
