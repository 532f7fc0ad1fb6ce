"""The interfaces of a node and of its instances, as lines for `ip -batch`. Pure.

An instance has a network namespace of its own with one end of a cable in it; the other end is on
the host, which routes. There is no bridge: packets of two instances on one node pass the rules
like all others, whatever Docker has told the kernel of bridges, and neighbours are written down,
not asked for. The namespace is ours and stays when a process ends, and with it the address.

Does not belong here: running the lines (`host`).
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address

from oakctl.overlay import addressing
from oakctl.overlay.kernel.ruleset import CABLES, GATEWAY, Networks

# What fits into a tunnel on any path that carries IPv6's least packet. The same everywhere, so that
# no instance ever has to be told that a packet is too big.
MTU = 1280
INSIDE = "eth0"
GATEWAY_PEER = "oak0p"
LAST_METRIC = 4294967295


def namespace(address: str) -> str:
    """The name of an instance's network namespace: "oak-10.18.0.66"."""
    return f"oak-{IPv4Address(address)}"


def address_of(name: str) -> str:
    """The address of an instance's namespace; empty when the name is not of one."""
    prefix, _, address = name.partition("-")
    try:
        return str(IPv4Address(address)) if prefix == "oak" else ""
    except ValueError:
        return ""


def interface(address: str) -> str:
    """The name of the host's end of an instance's cable: "oakv0a120042"."""
    return f"{CABLES}{IPv4Address(address).packed.hex()}"


def node(networks: Networks, links: Collection[str]) -> list[str]:
    """Make the node's own address and routes, given the host's interfaces by name.

    What belongs to the overlay and leads nowhere yet is unreachable: it never leaves by the host's
    default route. The service network leads to an interface for the sake of the source address
    alone; packets for it are translated or refused.
    """
    lines = [
        f"route replace unreachable {network} metric {LAST_METRIC}"
        for network in (networks.nodes, networks.services)
    ]
    if GATEWAY not in links:
        lines.append(f"link add {GATEWAY} type veth peer name {GATEWAY_PEER}")
        lines += [f"link set {name} addrgenmode none" for name in (GATEWAY, GATEWAY_PEER)]
    return [
        *lines,
        f"link set {GATEWAY} mtu {MTU} up",
        f"link set {GATEWAY_PEER} mtu {MTU} up",
        *(f"addr replace {each}/32 dev {GATEWAY}" for each in addressing.own(networks.subnet)),
        f"route replace {networks.services} dev {GATEWAY} src {networks.gateway}",
    ]


def node_removal(networks: Networks, links: Collection[str]) -> list[str]:
    """Take the node's own away; lines that find nothing fail, and that is fine."""
    lines = [f"link delete {GATEWAY}"] if GATEWAY in links else []
    return lines + [
        f"route delete unreachable {network} metric {LAST_METRIC}"
        for network in (networks.nodes, networks.services)
    ]


def cable(address: str) -> list[str]:
    """Lay an instance's cable: its end inside gets into the namespace, which is there."""
    name = interface(address)
    return [
        f"link add {name} address {_hardware(address, 0)} type veth "
        f"peer name {INSIDE} address {_hardware(address, 1)} netns {namespace(address)}",
        f"link set {name} addrgenmode none",
    ]


def outside(networks: Networks, address: str) -> list[str]:
    """The host's end: up, and the route to the instance. May be run again."""
    name = interface(address)
    return [
        f"link set {name} mtu {MTU} up",
        f"neigh replace {address} lladdr {_hardware(address, 1)} dev {name} nud permanent",
        f"route replace {address}/32 dev {name} src {networks.gateway}",
    ]


def inside(networks: Networks, address: str) -> list[str]:
    """The instance's end: its address, and the host as the way to everything."""
    gateway = networks.gateway
    return [
        "link set lo up",
        f"link set {INSIDE} mtu {MTU} up",
        f"addr replace {address}/32 dev {INSIDE}",
        f"neigh replace {gateway} lladdr {_hardware(address, 0)} dev {INSIDE} nud permanent",
        f"route replace {gateway} dev {INSIDE} scope link",
        f"route replace default via {gateway} dev {INSIDE}",
    ]


def _hardware(address: str, end: int) -> str:
    """Locally administered, and the same whenever the cable is laid anew."""
    octets = IPv4Address(address).packed
    return ":".join([f"{0x02 + 4 * end:02x}", "6f", *(f"{octet:02x}" for octet in octets)])
