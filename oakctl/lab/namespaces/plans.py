"""The network plan of machine labs, as it is for light hosts, whole or for one host. Pure.

Light hosts are not reached by the machine's own network: the lab's keeper passes SSH on. So the
operator's cables and the management network are left out. Does not belong here: the plan itself
(`lab.machines.topology`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from oakctl.lab.machines import topology
from oakctl.lab.machines.lab_file import LabPlan
from oakctl.lab.machines.topology import OPERATOR, Topology

# Inside of the lab's namespace no other network can be in the way.
BLOCK = "198.18.0.0/20"
TAG = "ns"
_MANAGEMENT = "mgm"


def network(plan: LabPlan) -> Topology:
    """The network of a lab of light hosts."""
    whole = topology.plan_network(plan, BLOCK, TAG)
    return replace(
        whole,
        bridges=tuple(bridge for bridge in whole.bridges if bridge.name != _MANAGEMENT),
        links=tuple(
            link for link in whole.links if link.a.node != OPERATOR and link.b.bridge != _MANAGEMENT
        ),
    )


def address(network: Topology, host: str) -> str:
    """The host's own address in its network, without its length."""
    node = topology.host_node(host)
    ports = (port for link in network.links for port in (link.a, link.b))
    found = next(port.address for port in ports if port.node == node and port.name == "eth0")
    return found.partition("/")[0]


def without_hosts(network: Topology, hosts: Collection[str]) -> Topology:
    """The network as long as these hosts are off."""
    away = {topology.host_node(host) for host in hosts}
    return replace(
        network,
        nodes=tuple(node for node in network.nodes if node not in away),
        links=tuple(link for link in network.links if link.a.node not in away),
        routes=tuple(route for route in network.routes if route.node not in away),
    )


def host_alone(network: Topology, host: str) -> Topology:
    """What of the network is this host's: the rest of it is there."""
    node = topology.host_node(host)
    return replace(
        network,
        nodes=(node,),
        routers=(),
        bridges=(),
        links=tuple(link for link in network.links if link.a.node == node),
        routes=tuple(route for route in network.routes if route.node == node),
    )
