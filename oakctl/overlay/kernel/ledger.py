"""What follows for one node's rule set from all its tables, and what of it a change changes. Pure.

A page for each service is kept, so that the change of one costs the same with one service or ten
thousand. Belongs here: which pages have to be written anew, and who has what several services
claim. Does not belong here: what is on a page (`planning`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from oakctl.model.documents import ServiceTable
from oakctl.model.service import BY_CLIENT
from oakctl.overlay.kernel import elements
from oakctl.overlay.kernel.cables import interface
from oakctl.overlay.kernel.elements import Elements
from oakctl.overlay.kernel.places import Places
from oakctl.overlay.kernel.planning import Leads, Page, Place, Sight, Way, is_within, page

T = TypeVar("T")


class Ledger:
    """The pages of one node; of two services that claim one address or port the first by name
    has it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._given: Sequence[ServiceTable] = ()
        self._tables: dict[str, ServiceTable] = {}
        self._sight = Sight()
        self._pages: dict[str, Page] = {}
        self._adopted: dict[str, Places] = {}  # by service address
        self._at: dict[str, set[str]] = {}  # node → the services with instances there
        self._addresses: dict[str, dict[str, Way]] = {}  # → job name → where it leads
        self._ports: dict[str, dict[str, str]] = {}
        self.leads: dict[str, Leads] = {}  # service address → what flows have to agree with

    def follow(
        self, tables: Sequence[ServiceTable], sight: Sight
    ) -> tuple[Elements, Elements, bool]:
        """Go by these tables, one for each service, and this sight.

        Returns the elements that change as they were and as they are, and whether any flow may
        have to end by it.
        """
        jobs = self._news(tables) | self._touched(sight)
        gone, come = _own(self._sight), _own(sight)
        local = gone != come
        self._given, self._sight = tables, sight
        before = {job: self._pages.get(job, Page()) for job in jobs}
        after = {
            job: page(self._place, self._tables[job], sight, self._found(job))
            if job in self._tables
            else Page()
            for job in jobs
        }
        pages = (*before.values(), *after.values())
        addresses = {address for each in pages for address in each.ways}
        ports = {port for each in pages for port in each.ports}
        old = (*self._elements(addresses, ports), gone)
        led = {address: self.leads.get(address) for address in addresses}
        for job in jobs:
            self._turn(job, before[job], after[job])
        for address in addresses:
            way = self._way(address)
            if way is None:
                self.leads.pop(address, None)
            else:
                self.leads[address] = way.leads
        new = (*self._elements(addresses, ports), come)
        moved = local or any(self.leads.get(a) != known for a, known in led.items())
        return elements.together(old), elements.together(new), moved

    def adopt(self, address: str, places: Places) -> None:
        """Begin with these places of a service address: they are in force by somebody before us."""
        self._adopted[address] = places

    def by_client(self, tables: Iterable[ServiceTable]) -> frozenset[str]:
        """The service addresses of these at which a client stays with its instance."""
        services = self._place.networks.services
        given = (table.addresses for table in tables if table.affinity == BY_CLIENT)
        addresses = (address for each in given for address in (each.rr_ip, each.least_ip))
        return frozenset(address for address in addresses if is_within(address, services))

    def _found(self, job: str) -> Page:
        """What the page of a service begins with."""
        addresses = self._tables[job].addresses.given
        known = {each: Way(self._adopted[each]) for each in addresses if each in self._adopted}
        return self._pages.get(job) or Page(known)

    def whole(self) -> Elements:
        """All elements."""
        return elements.together((*self._elements(self._addresses, self._ports), _own(self._sight)))

    def neighbours(self) -> frozenset[str]:
        """The own addresses of the other nodes that flows from here may lead to."""
        return frozenset(self._at) - {self._place.networks.gateway}

    def contested(self) -> Mapping[str, tuple[str, ...]]:
        """The service addresses that several services claim; the first of each has it."""
        return {
            address: tuple(sorted(claims))
            for address, claims in self._addresses.items()
            if len(claims) > 1
        }

    def _news(self, tables: Sequence[ServiceTable]) -> set[str]:
        """The services whose tables are not what they were."""
        if tables is self._given:
            return set()
        given, known = self._given, self._tables
        others = [at for at, (a, b) in enumerate(zip(given, tables)) if a is not b]  # noqa: B905
        if len(given) == len(tables) and all(
            given[at].job_name == tables[at].job_name for at in others
        ):  # as when one was replaced: the others are not even looked at
            known.update((tables[at].job_name, tables[at]) for at in others)
            return {tables[at].job_name for at in others if given[at] != tables[at]}
        now = {table.job_name: table for table in tables}
        changed = {
            job
            for job, table in now.items()
            if known.get(job) is not table and known.get(job) != table
        }
        changed.update(job for job in known if job not in now)
        self._tables = now
        return changed

    def _touched(self, sight: Sight) -> set[str]:
        """The services of which an instance is on a node that is seen otherwise than before."""
        before = self._sight
        nodes = set(sight.unreachable ^ before.unreachable)
        trips = sight.round_trips_ms.items() ^ before.round_trips_ms.items()
        nodes.update(name for name, _ in trips)
        if (sight.local, sight.down) != (before.local, before.down):
            nodes.add(self._place.networks.gateway)
        return {job for node in nodes for job in self._at.get(node, ())}

    def _turn(self, job: str, before: Page, after: Page) -> None:
        """Put the new page of a service in the place of the old one."""
        if job in self._tables:
            self._pages[job] = after
        else:
            self._pages.pop(job, None)
        for node in before.nodes - after.nodes:
            self._at[node].discard(job)
            if not self._at[node]:
                del self._at[node]
        for node in after.nodes - before.nodes:
            self._at.setdefault(node, set()).add(job)
        _claim(self._addresses, job, before.ways, after.ways)
        _claim(self._ports, job, before.ports, after.ports)

    def _way(self, address: str) -> Way | None:
        claims = self._addresses.get(address)
        return claims[min(claims)] if claims else None

    def _elements(self, addresses: Iterable[str], ports: Iterable[str]) -> Iterator[Elements]:
        for address in addresses:
            way = self._way(address)
            if way is not None and way.places:
                yield elements.leading(address, way.places, by_client=way.by_client)
            elif way is not None:
                yield Elements(hold={address: ""}) if way.waits else Elements(refused={address: ""})
        for port in ports:
            claims = self._ports.get(port)
            if claims:
                yield Elements(ports={port: claims[min(claims)]})


def _claim(
    kept: dict[str, dict[str, T]], job: str, before: Mapping[str, T], after: Mapping[str, T]
) -> None:
    for key in before:
        if key not in after:
            del kept[key][job]
            if not kept[key]:
                del kept[key]
    for key, value in after.items():
        kept.setdefault(key, {})[job] = value


def _own(sight: Sight) -> Elements:
    in_order = sorted(sight.local)
    hairpin = {f"{address} . {address}": "" for address in in_order}
    sources = {f'"{interface(address)}" . {address}': "" for address in in_order}
    silent = {address: "" for address in in_order if address in sight.down}
    return Elements(hairpin=hairpin, sources=sources, silent=silent)
