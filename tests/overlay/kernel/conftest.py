"""Nodes on one segment, with plain routes between them, and nodes behind routers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site
from oakctl.lab.namespaces.lab import NamespaceLab

from .nodes import Node
from .requirements import kernel_overlay as kernel_overlay

MakeNode = Callable[..., Node]
SUBNETS = {
    "a": "10.18.0.64/26",
    "b": "10.18.0.128/26",
    "hub": "10.18.0.0/26",
    "public": "10.18.0.192/26",
    "home": "10.18.1.0/26",
    "office": "10.18.1.64/26",
    "near": "10.18.1.128/26",
    "shop": "10.18.1.192/26",
    "cafe": "10.18.2.0/26",
}


@pytest.fixture(scope="package")
def lab(kernel_overlay: None) -> Iterator[NamespaceLab]:
    """Hosts a and b; each knows the way to the other's subnet."""
    with NamespaceLab(LabPlan((MachineHost("a"), MachineHost("b")))) as made:
        for here, there in (("a", "b"), ("b", "a")):
            route = ("ip", "route", "add", SUBNETS[there], "via", made.address(there))
            made.run(here, route)
        yield made


@pytest.fixture(scope="package")
def sites(kernel_overlay: None) -> Iterator[NamespaceLab]:
    """Two public hosts, and one behind a router of its own each, of which one is symmetric."""
    hosts = (
        MachineHost("hub"),
        MachineHost("public"),
        MachineHost("home", site="home"),
        MachineHost("office", site="office"),
    )
    with NamespaceLab(LabPlan(hosts, (Site("home"), Site("office", Nat.SYMMETRIC)))) as made:
        yield made


@pytest.fixture
def make_node(lab: NamespaceLab, tmp_path: Path) -> Iterator[MakeNode]:
    """Makes nodes: `make_node("a")`; their overlay is taken away afterwards."""
    yield from _maker(lab, tmp_path)


@pytest.fixture
def make_site_node(sites: NamespaceLab, tmp_path: Path) -> Iterator[MakeNode]:
    """Likewise, on the hosts of `sites`."""
    yield from _maker(sites, tmp_path)


def _maker(lab: NamespaceLab, directory: Path) -> Iterator[MakeNode]:
    made: list[Node] = []

    def make(host: str, way: str = "library", probing: bool = False) -> Node:
        made.append(Node(lab, host, SUBNETS[host], directory / host, way, probing))
        return made[-1]

    try:
        yield make
    finally:
        for node in made:
            node.close()
