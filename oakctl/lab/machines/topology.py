"""Addresses, namespaces and links of a machine lab, and the commands that make them. Pure.

A lab owns one /20: the first /24 is the public segment, the second the management network, and
each site's local network is one of the rest.

    operator ──┬── pub (bridge in `hub`) ──┬── public hosts
               │                           └── wan0 of a site's router ── lan ── hosts of the site
               └── mgm (bridge in `hub`) ───── mgmt0 of the hosts of sites

Public hosts are reached at their public address, hosts of sites over the management network,
whose ports are isolated from each other. No namespace has a way out of the lab. Does not belong
here: running the commands (`network`); packet rules (`rules`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from oakctl.errors import Conflict
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat

# Where labs take their addresses from, in this order. Private and benchmarking addresses
# (RFC 1918, RFC 2544) that container engines and home routers leave alone.
POOLS = (IPv4Network("172.31.0.0/16"), IPv4Network("198.18.0.0/15"))
BLOCK = 20

OPERATOR = ""  # the machine itself, as a node
HUB = "hub"
ROUTER_NUMBER = 254
OPERATOR_NUMBER = 253
SITE_NUMBERS = 201  # of a site's router on the public segment


@dataclass(frozen=True)
class Port:
    """One end of a link: an interface in a node, in a bridge there or with an address."""

    node: str
    name: str
    bridge: str = ""
    isolated: bool = False
    address: str = ""  # with prefix length


@dataclass(frozen=True)
class Link:
    """A cable."""

    a: Port
    b: Port


@dataclass(frozen=True)
class Bridge:
    """A switch in a node; with an address the node itself is on it."""

    node: str
    name: str
    address: str = ""


@dataclass(frozen=True)
class Route:
    """`to` may be `default`."""

    node: str
    to: str
    via: str


@dataclass(frozen=True)
class Topology:
    """Everything that the network of a lab is."""

    nodes: tuple[str, ...]  # namespaces
    routers: tuple[str, ...]  # those that forward
    bridges: tuple[Bridge, ...]
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    reach: Mapping[str, str]  # host → the address where the operator reaches it


@dataclass(frozen=True)
class Command:
    """One program to run in a node."""

    node: str
    argv: tuple[str, ...]


def choose_block(used: Iterable[str]) -> str:
    """The first /20 of the pools that overlaps none of `used` networks; raises Conflict."""
    networks = [IPv4Network(each, strict=False) for each in used]
    for pool in POOLS:
        for block in pool.subnets(new_prefix=BLOCK):
            if not any(block.overlaps(each) for each in networks if each.prefixlen):
                return str(block)
    raise Conflict(
        f"every /{BLOCK} of {', '.join(map(str, POOLS))} is in use on this machine",
        hint="end other labs (oakctl lab ls), or see `ip route show table all`",
    )


def host_node(name: str) -> str:
    """The namespace of a host."""
    return f"host-{name}"


def site_node(name: str) -> str:
    """The namespace of a site's router."""
    return f"site-{name}"


def operator_links(tag: str) -> tuple[str, str]:
    """The lab's only interfaces on the machine itself: public, management."""
    return f"oakl{tag}p", f"oakl{tag}m"


def plan_network(plan: LabPlan, block: str, tag: str) -> Topology:
    """The network of `plan` in `block`; `tag` names the operator's interfaces."""
    public, management, *locals_ = IPv4Network(block).subnets(new_prefix=24)
    public_link, management_link = operator_links(tag)
    hub = _at(public, ROUTER_NUMBER)
    bridges = [Bridge(HUB, "pub", _with_length(public, ROUTER_NUMBER)), Bridge(HUB, "mgm")]
    links = [
        Link(
            Port(OPERATOR, public_link, address=_with_length(public, OPERATOR_NUMBER)),
            Port(HUB, "op", "pub"),
        ),
        Link(
            Port(OPERATOR, management_link, address=_with_length(management, OPERATOR_NUMBER)),
            Port(HUB, "om", "mgm"),
        ),
    ]
    routes = []
    lans: dict[str, IPv4Network] = {}
    for index, site in enumerate(plan.sites):
        node, lan, number = site_node(site.name), locals_[index], SITE_NUMBERS + index
        lans[site.name] = lan
        bridges.append(Bridge(node, "lan", _with_length(lan, ROUTER_NUMBER)))
        wan = Port(node, "wan0", address=_with_length(public, number))
        links.append(Link(wan, Port(HUB, f"s{index + 1}", "pub")))
        routes.append(Route(node, "default", hub))
        if site.nat is Nat.NONE:
            routes.append(Route(HUB, str(lan), _at(public, number)))
    reach = {}
    for index, host in enumerate(plan.hosts, start=1):
        network = lans[host.site] if host.site else public
        links += _host_links(host, index, network, management)
        routes.append(Route(host_node(host.name), "default", _at(network, ROUTER_NUMBER)))
        reach[host.name] = _at(management if host.site else public, index)
    routers = (HUB, *(site_node(site.name) for site in plan.sites))
    hosts = tuple(host_node(host.name) for host in plan.hosts)
    return Topology((*routers, *hosts), routers, tuple(bridges), tuple(links), tuple(routes), reach)


def _host_links(
    host: MachineHost, number: int, network: IPv4Network, management: IPv4Network
) -> list[Link]:
    node = host_node(host.name)
    above = Port(site_node(host.site), f"h{number}", "lan")
    if not host.site:
        above = Port(HUB, f"h{number}", "pub")
    links = [Link(Port(node, "eth0", address=_with_length(network, number)), above)]
    if host.site:
        inner = Port(node, "mgmt0", address=_with_length(management, number))
        links.append(Link(inner, Port(HUB, f"m{number}", "mgm", isolated=True)))
    return links


def missing(
    topology: Topology, present: Mapping[str, Collection[str]], cut: Collection[str] = ()
) -> list[Command]:
    """What makes the network whole, given the interfaces that each node has by now.

    The cables of the hosts in `cut` are not plugged in. Running all of it again changes
    nothing. The namespaces themselves are there already.
    Links are named by `@node` where a command takes the path of a namespace.
    """
    commands = [
        Command(router, ("sysctl", "-qw", f"net.ipv4.{key}"))
        for router in topology.routers
        for key in ("ip_forward=1", "conf.all.send_redirects=0", "conf.default.send_redirects=0")
    ]
    # As on any Debian machine, everybody may ping.
    everybody = "net.ipv4.ping_group_range=0 2147483647"
    commands += [Command(node, ("sysctl", "-qw", everybody)) for node in topology.nodes]
    for bridge in topology.bridges:
        if bridge.name not in present.get(bridge.node, ()):
            # Without one of its own it has that of a port, another one whenever ports come and go.
            own = _hardware(Port(bridge.node, bridge.name, address=bridge.address))
            commands.append(_ip(bridge.node, "link", "add", bridge.name, *own, "type", "bridge"))
        commands += _configured(Port(bridge.node, bridge.name, address=bridge.address))
    pulled = {port for host in cut for port in cables_of(topology, host)}
    for link in topology.links:
        if link.b.name not in present.get(link.b.node, ()):
            commands.append(_cable(link))
        for port in (link.a, link.b):
            commands += _configured(port, up=port not in pulled)
    commands += [
        _ip(route.node, "route", "replace", route.to, "via", route.via) for route in topology.routes
    ]
    # What comes from the lab ends on the operator's machine, whatever that forwards otherwise.
    commands += [
        Command(OPERATOR, ("sysctl", "-qw", f"net.ipv4.conf.{link.a.name}.forwarding=0"))
        for link in topology.links
        if link.a.node == OPERATOR
    ]
    return commands


def cables_of(topology: Topology, host: str) -> tuple[Port, ...]:
    """The far ends of everything that connects a host: what is pulled by `cut`."""
    node = host_node(host)
    return tuple(link.b for link in topology.links if link.a.node == node)


def switched(topology: Topology, host: str, on: bool) -> list[Command]:
    """Pull the host's cables, or plug them in."""
    state = "up" if on else "down"
    return [_ip(port.node, "link", "set", port.name, state) for port in cables_of(topology, host)]


def _cable(link: Link) -> Command:
    side_a = ("netns", f"@{link.a.node}") if link.a.node else ()
    return _ip(
        OPERATOR,
        *("link", "add", "name", link.a.name, *side_a, *_hardware(link.a), "type", "veth"),
        *("peer", "name", link.b.name, "netns", f"@{link.b.node}"),
    )


def _hardware(port: Port) -> tuple[str, ...]:
    """A hardware address that stays when the link is made anew: neighbours remember it."""
    if not port.address:
        return ()
    octets = IPv4Interface(port.address).ip.packed
    return ("address", ":".join(["02:00", *(f"{octet:02x}" for octet in octets)]))


def _configured(port: Port, *, up: bool = True) -> list[Command]:
    commands = []
    if port.bridge:
        commands.append(_ip(port.node, "link", "set", port.name, "master", port.bridge))
    if port.isolated:
        set_isolated = ("bridge", "link", "set", "dev", port.name, "isolated", "on")
        commands.append(Command(port.node, set_isolated))
    if port.address:
        commands.append(_ip(port.node, "addr", "replace", port.address, "dev", port.name))
    if up:
        commands.append(_ip(port.node, "link", "set", port.name, "up"))
    return commands


def _ip(node: str, *words: str) -> Command:
    return Command(node, ("ip", *words))


def _at(network: IPv4Network, number: int) -> str:
    return str(IPv4Address(int(network.network_address) + number))


def _with_length(network: IPv4Network, number: int) -> str:
    return f"{_at(network, number)}/{network.prefixlen}"
