"""The kernel overlay of one host: makes it so, keeps it so, and takes it away.

Everything is compared with what shall be and repeated without harm; what the agent leaves behind
when it ends goes on working, and the next one puts its rules in the place of the former's in one
step. Does not belong here: decisions (`planning`, `flows`) and the form of commands.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from oakctl.model.documents import ServiceTable
from oakctl.model.overlay import TUNNEL_PORT, OverlayNode
from oakctl.overlay import addressing, plan
from oakctl.overlay.kernel import (
    asked,
    cables,
    conntrack,
    elements,
    flows,
    nft,
    overlapping,
    planning,
    ruleset,
    taken,
)
from oakctl.overlay.kernel.alone import alone
from oakctl.overlay.kernel.elements import Elements, difference
from oakctl.overlay.kernel.flows import Flow
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.ledger import Ledger
from oakctl.overlay.kernel.passage import Passage
from oakctl.overlay.kernel.planning import Place, Sight
from oakctl.overlay.kernel.ruleset import GATEWAY
from oakctl.overlay.kernel.tunnel import Tunnel

log = logging.getLogger("oakctl.overlay")

MOST_COMPARED = 20_000  # elements that are looked through for changes of others, now and then


class KernelDriver:
    """The overlay of the host at `place`; `state` is where it notes what it changes there."""

    def __init__(
        self,
        place: Place,
        state: Path | str,
        *,
        host: Host | None = None,
        rules: nft.Nft | None = None,
        port: int = TUNNEL_PORT,
    ) -> None:
        self._place = place
        self._host = host or Host()
        self._passage = Passage(self._host, state, port)
        self._tunnel = Tunnel(place.networks, state, self._host, port)
        self._nodes: tuple[OverlayNode, ...] = ()
        self._connected = True  # to just these
        self._nft = rules or nft.of_host(self._host)
        self._tables: tuple[ServiceTable, ...] | None = None  # None: not told yet
        self._sight = Sight()
        self._ledger = Ledger(place)
        self.changing = threading.RLock()  # one change at a time, whoever makes it
        self._reading = threading.Lock()  # of the ledger, for a moment
        self._loaded = False  # not by us, or not as it should be
        self._settled = False  # by us, before
        self._digest = ""
        self._problems: dict[str, str] = {}

    @alone
    def start(self) -> None:
        """Make the node's own part: address, routes. Instances that are there are adopted.

        Rules that an earlier agent has left stay in force until `apply`. What the node had with
        another subnet goes, however much of that there is still. Raises OSError.
        """
        self._leave_former()
        self._sight = replace(self._sight, local=self._found())
        self._settle()
        for address in self._sight.local:
            self._lay(address)
        self._load()

    @alone
    def apply(self, overlay: plan.NodeOverlay) -> bool:
        """Follow these tables: idempotent. Returns whether anything was changed; raises OSError."""
        self._tables = overlay.tables
        return self._load(compare=True)

    @property
    def place(self) -> Place:
        """Where this is."""
        return self._place

    @property
    def tunnel(self) -> Tunnel:
        """The tunnel to other nodes, for those who change its ways (`pathfinder`)."""
        return self._tunnel

    def public_key(self) -> str:
        """What other nodes know this one's tunnel by. Raises OSError."""
        return self._tunnel.public_key()

    @alone
    def connect(self, nodes: Iterable[OverlayNode]) -> bool:
        """Lead to the instances of these nodes, this one among them: idempotent.

        Returns whether anything was changed; raises OSError.
        """
        wanted = tuple(nodes)
        if wanted == self._nodes and self._connected:
            return False
        self._nodes, self._connected = wanted, False
        changed = self._tunnel.apply(self._place.worker, wanted)
        self._connected = True
        return changed

    def neighbours(self) -> frozenset[str]:
        """The own addresses of the nodes whose reach matters here: they have instances in use."""
        with self._reading:
            return self._ledger.neighbours()

    @alone
    def measured(self, unreachable: Iterable[str], round_trips_ms: Mapping[str, float]) -> bool:
        """Go by what was measured of neighbours; whether anything changed. Raises OSError."""
        self._sight = replace(
            self._sight, unreachable=frozenset(unreachable), round_trips_ms=dict(round_trips_ms)
        )
        return self._load()

    @alone
    def attach(self, address: str, pid: int = 0) -> str:
        """Give the instance with this address its namespace; returns the namespace's name.

        The same one for as long as it is attached; or that of process `pid`, a container's, which
        nobody else has given anything. Raises OSError; ValueError for an address that is not one of
        this node, and for a process in the host's own network, which is never touched.
        """
        if not planning.is_within(address, self._place.networks.subnet):
            raise ValueError(f"{address} is not in {self._place.networks.subnet}")
        if pid and self._host.has_own_network(pid):
            raise ValueError(f"{address}: process {pid} is in the host's own network")
        if pid and not self._host.is_of(cables.namespace(address), pid):
            self._cut(address)
            self._host.run(("ip", "netns", "attach", cables.namespace(address), str(pid)))
        self._lay(address)
        self._see(self._sight.local | {address})
        return cables.namespace(address)

    @alone
    def down(self, addresses: Iterable[str]) -> bool:
        """In just these instances of the node nothing runs; whether it matters. Raises OSError."""
        self._sight = replace(self._sight, down=frozenset(addresses))
        return self._load()

    def idle(self) -> frozenset[str]:
        """Those in which nothing runs."""
        return self._sight.down

    def attached(self) -> frozenset[str]:
        """The addresses of instances that have their namespace."""
        return self._sight.local

    @alone
    def detach(self, address: str) -> None:
        """Take the instance's namespace away, and end the flows that led there. Raises OSError."""
        self._see(self._sight.local - {address})
        self._cut(address)

    def problems(self) -> tuple[str, ...]:
        """What is not as it should be, in words, and what of it was mended just now."""
        return (*self.mend(), *self.standing())

    @alone
    def mend(self) -> tuple[str, ...]:
        """Make good what others have changed of ours; what that was, in words."""
        found = []
        with self._told("host"):
            found += self._settle()
        if self._loaded and not self._is_intact():
            found.append("the table oakctl was changed or removed by somebody; it was loaded anew")
            self._loaded = False
            with self._told("rules"):
                self._load()
        with self._told("tunnel"):
            if self._tunnel.apply(self._place.worker, self._nodes):
                found.append("the tunnel was changed or ended by somebody; it was made anew")
        return tuple(found)

    @alone
    def standing(self) -> tuple[str, ...]:
        """What is not as it should be since the last `mend`, in words."""
        found = [*taken.words(self._ledger.contested())]
        with self._told("routes"):
            listed = self._host.run(("ip", "-4", "route", "show"))
            found += overlapping.words(listed, self._place.networks)
        found += taken.full(self._place.networks.subnet, len(self._sight.local))
        if self._tunnel.problem:
            found.append(self._tunnel.problem)
        return (*found, *(self._problems[key] for key in sorted(self._problems)))

    def asked(self) -> frozenset[str]:
        """Service addresses that packets wait for and no table is known of. Raises OSError."""
        found = asked.addresses() if self._loaded else frozenset()
        with self._reading:
            return found.difference(self._ledger.leads)

    @alone
    def refuse(self, addresses: Iterable[str]) -> None:
        """Let nobody wait for these, that no service has, for a while. Raises OSError."""
        text = asked.answered(addresses)
        if text and self._loaded:
            self._nft.run(text)

    def used(self) -> frozenset[str]:
        """The service addresses that flows here are open to. Raises OSError."""
        (services, _) = flows.prefixes(self._place.networks)
        found = conntrack.destinations((services,))
        with self._reading:
            return found.intersection(self._ledger.leads)

    def in_force(self) -> tuple[Elements, Sight]:
        """What the rule set's maps hold, and what it was made of besides the tables."""
        with self._reading:
            return self._ledger.whole() if self._loaded else Elements(), self._sight

    @alone
    def remove(self) -> None:
        """Take everything away, whoever made it and for whatever subnet: the host is as it was.

        Nothing has to be made, or known, for that. Raises OSError.
        """
        for address in self._found():
            self._cut(address)
        with contextlib.suppress(FileNotFoundError):  # where there is no nft, there is no table
            self._nft.run(ruleset.removal())
        self._loaded, self._tables, self._nodes = False, None, ()
        self._tunnel.remove()
        self._host.ip(cables.node_removal(self._place.networks, self._host.links()), force=True)
        self._passage.close()
        self._sight = Sight()

    def _found(self) -> frozenset[str]:
        """The addresses of instances whose namespaces are there; some may be of a former subnet."""
        addresses = (cables.address_of(name) for name in self._host.namespaces())
        nodes = self._place.networks.nodes
        return frozenset(each for each in addresses if planning.is_within(each, nodes))

    def _leave_former(self) -> None:
        networks = self._place.networks
        for address in self._found():
            if not planning.is_within(address, networks.subnet):
                self._cut(address)
        if GATEWAY in self._host.links():
            listed = self._host.run(("ip", "-brief", "-4", "address", "show", "dev", GATEWAY))
            own = {f"{each}/32" for each in addressing.own(networks.subnet)}
            if set(listed.split()[2:]) - own:
                self._host.ip([f"link delete {GATEWAY}"])

    def _settle(self) -> list[str]:
        """The host's settings, interface and routes; and that other rules let us pass.

        What was ours before and is no more, in words.
        """
        lost = []
        links = self._host.links()
        if self._settled and GATEWAY not in links:
            lost.append(f"the interface {GATEWAY} was removed by somebody; it was made anew")
        self._host.ip(cables.node(self._place.networks, links))
        if lost:  # with its address the kernel has dropped each route that names it
            for address in self._sight.local:
                self._lay(address)
        if self._passage.forward() and self._settled:
            lost.append("forwarding was turned off by somebody; it was turned on again")
        with self._told("forwarding"):
            if self._passage.open():
                lost.append(
                    "rules of other programs were loaded anew, or dropped by somebody (Docker, "
                    "ufw, firewalld, iptables); what lets the overlay pass was put back"
                )
        self._settled = True
        return lost

    def _lay(self, address: str) -> None:
        name = cables.namespace(address)
        if name not in self._host.namespaces():
            self._host.run(("ip", "netns", "add", name))
        if cables.interface(address) not in self._host.links():
            self._host.ip(cables.cable(address))
        self._host.ip(cables.inside(self._place.networks, address), name)
        with self._told("echoes"):
            self._host.let_ping(name)
        self._host.ip(cables.outside(self._place.networks, address))

    def _cut(self, address: str) -> None:
        if cables.interface(address) in self._host.links():
            self._host.ip([f"link delete {cables.interface(address)}"])
        name = cables.namespace(address)
        if name in self._host.namespaces():
            self._host.run(("ip", "netns", "delete", name))

    def _see(self, local: frozenset[str]) -> None:
        self._sight = replace(self._sight, local=local)
        self._load()

    def _load(self, compare: bool = False) -> bool:
        """Bring the kernel's maps to what shall be, then its flows; whether the maps changed.

        Flows are compared where that may end one, and by `compare` in any case.
        Before the first tables an earlier agent's rules are better than ours would be.
        """
        if not self._loaded and self._nft.rules():
            if self._tables is None:
                return False
            self._adopt(self._tables)
        with self._reading:
            old, new, moved = self._ledger.follow(self._tables or (), self._sight)
        whole = not self._loaded
        networks = self._place.networks
        text = ruleset.swap(networks, self._ledger.whole()) if whole else difference(old, new)
        if text:
            self._loaded = False
            self._nft.run(text)
            if whole:
                self._digest = self._nft.rules()
        self._loaded = True
        if compare or whole or moved or "flows" in self._problems:
            with self._told("flows"):
                self._end_stale_flows()
        return bool(text)

    def _is_intact(self) -> bool:
        """Whether the rules are as they were loaded; and the elements, where they are not many."""
        if self._nft.rules() != self._digest:
            return False
        wanted = self._ledger.whole()
        if wanted.count > MOST_COMPARED:
            return True
        return elements.is_in(self._nft.printed(f"list table ip {elements.TABLE}\n"), wanted)

    def _adopt(self, tables: Sequence[ServiceTable]) -> None:
        """Clients that are bound to their instances stay so, whoever has loaded the rules."""
        for address in self._ledger.by_client(tables):
            with contextlib.suppress(OSError):  # it had one instance, or none
                printed = self._nft.printed(elements.asking(address))
                self._ledger.adopt(address, elements.places_in(printed))

    def _end_stale_flows(self) -> None:
        """In this order: a flow that is deleted now comes back by the maps that are in force."""
        networks = self._place.networks
        ended = conntrack.delete_flows(
            flows.prefixes(networks),
            lambda flow: flows.is_stale(flow, networks, self._ledger.leads, self._sight.local),
        )
        waiting: dict[str, list[Flow]] = {}
        for flow in ended:
            if flow.protocol == flows.TCP:
                waiting.setdefault(flow.source, []).append(flow)
        for source, theirs in waiting.items():
            self._wake(source, theirs)

    def _wake(self, source: str, theirs: Sequence[Flow]) -> None:
        """End the clients' sockets: one that only reads would never find out.

        Those that have no answer to their first packet yet try again by themselves.
        """
        if source in self._sight.local:
            within: tuple[str, ...] = ("-N", cables.namespace(source))
        elif source == self._place.networks.gateway:
            within = ()
        else:
            return  # of another host, where it is done too
        command = ("ss", *within, "-K", "-t", "state", "established")
        with contextlib.suppress(OSError):  # a kernel that cannot: they find out when they write
            for begin in range(0, len(theirs), flows.MOST_CLOSED):
                part = theirs[begin : begin + flows.MOST_CLOSED]
                self._host.run((*command, flows.closing(part)))

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What fails in here is a problem that is told, and not the end of the rest."""
        self._problems.pop(what, None)
        try:
            yield
        except OSError as error:
            self._problems[what] = f"{what}: {error.strerror or error}"
            log.warning("%s", self._problems[what])
