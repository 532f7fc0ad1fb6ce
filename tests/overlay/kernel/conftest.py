"""Two nodes on one segment: what a tunnel does between nodes, plain routes do here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.lab.namespaces.lab import NamespaceLab

from .nodes import Node
from .requirements import kernel_overlay as kernel_overlay

SUBNETS = {"a": "10.18.0.64/26", "b": "10.18.0.128/26"}


@pytest.fixture(scope="package")
def lab(kernel_overlay: None) -> Iterator[NamespaceLab]:
    """Hosts a and b; each knows the way to the other's subnet."""
    with NamespaceLab(LabPlan((MachineHost("a"), MachineHost("b")))) as made:
        for here, there in (("a", "b"), ("b", "a")):
            route = ("ip", "route", "add", SUBNETS[there], "via", made.address(there))
            made.run(here, route)
        yield made


@pytest.fixture
def make_node(lab: NamespaceLab, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Makes nodes: `make_node("a")`; their overlay is taken away afterwards."""
    made: list[Node] = []

    def make(host: str, way: str = "library") -> Node:
        made.append(Node(lab, host, SUBNETS[host], tmp_path / host, way))
        return made[-1]

    try:
        yield make
    finally:
        for node in made:
            node.close()
