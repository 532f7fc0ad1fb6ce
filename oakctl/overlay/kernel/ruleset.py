"""The rule set of a node, as text for nft. Pure.

It is loaded once and never changes: all state is in its maps and sets (`elements`), so that a
change costs the same with one service or ten thousand, and a packet one look-up.

    prerouting ─ spoof ─ to_service / to_port ─ unmark ─▶ forward ─ refuse ─▶ postrouting ─ from
    output     ─         to_service / to_port ─ unmark ─ refuse

Names of chains say what they do; the hooks' priorities are between those of Docker (-100) and of
connection tracking. Types are plain ones, which nft of 0.9.8 and later reads; published ports need
1.0. Does not belong here: loading it (`nft`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.overlay import addressing
from oakctl.overlay.kernel.elements import FIRST_MARK, TABLE, Elements, difference
from oakctl.overlay.kernel.places import PLACES
from oakctl.overlay.networks import NODE_NETWORK, SERVICE_NETWORK

# Interfaces of ours begin with "oak"; what is behind these is an instance.
CABLES = "oakv"
GATEWAY = "oak0"  # has the node's own address
TUNNEL = "oakwg0"
SEED = FIRST_MARK  # else the kernel takes another one whenever the rules are loaded
# An address that no table is known of is asked for (`asked`), and its packets wait that long.
ASKING_S = 3
AGAIN_S = 30  # after so long once more, when packets still come; until then they are refused
MOST_ASKED = 256  # at once: those of somebody who tries all addresses are refused
# A refused client tries again after a second if it does not hear of that; then it does.
DOUBT_S = 5
MOST_DOUBTED = 1 << 16  # flows at a time; more than that are refused at once


@dataclass(frozen=True)
class Networks:
    """Where one node is: its own subnet, and the two networks that are the overlay."""

    subnet: str
    nodes: str = NODE_NETWORK
    services: str = SERVICE_NETWORK

    @property
    def gateway(self) -> str:
        """The node's own address."""
        return addressing.gateway(self.subnet)


def swap(networks: Networks, elements: Elements) -> str:
    """One transaction that puts this rule set in the place of whatever is there by its name.

    Established flows go on: their translation is the kernel's, not the table's.
    """
    return removal() + _static(networks) + difference(Elements(), elements)


def removal() -> str:
    """One transaction after which nothing of ours is there, whether or not anything was."""
    return f"add table ip {TABLE}\ndelete table ip {TABLE}\n"


def _static(networks: Networks) -> str:
    marks = f"{FIRST_MARK:#x}-{FIRST_MARK + PLACES - 1:#x}"
    to_place = "dnat to ip daddr . meta mark map @slots"
    at_random = f"meta mark set numgen random mod {PLACES} offset {FIRST_MARK:#x} {to_place}"
    place = f"jhash ip saddr mod {PLACES} seed {SEED:#x} offset {FIRST_MARK:#x}"
    by_client = f"meta mark set {place} {to_place}"
    asking = "add @tried { ip daddr } add @asked { ip daddr } drop"
    to_service = f"ip daddr {networks.services} goto service"
    to_port = (
        "ip daddr != 127.0.0.0/8 fib daddr type local "
        "meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @ports"
    )
    unmark = f"meta mark {marks} meta mark set 0"
    # Who was led to an instance of this node that has ended is not refused by its empty namespace:
    # he tries again, and is led to another one, or finds the same back (`silent`). The node itself
    # may: its agent asks whether the instance is ready.
    # A flow whose first packet is answered by a reset is dead to the kernel at once ("dying"). It
    # may have come to an instance that has ended a moment ago, before anybody has noticed. So the
    # client hears of it only when he has tried again, by the maps as they are then.
    flow = "ip daddr . tcp dport . ip saddr . tcp sport"
    refusal = f"tcp flags & rst == rst ct original ip daddr {networks.services} ct status dying"
    # An ICMP answer is limited by the kernel to a few a second; a reset always gets there.
    return f"""table ip {TABLE} {{
 map slots {{ type ipv4_addr . mark : ipv4_addr; }}
 map one {{ type ipv4_addr : ipv4_addr; }}
 set sticky {{ type ipv4_addr; }}
 set hold {{ type ipv4_addr; }}
 set refused {{ type ipv4_addr; }}
 set asked {{ type ipv4_addr; flags dynamic, timeout; timeout {ASKING_S}s; size {MOST_ASKED}; }}
 set tried {{ type ipv4_addr; flags dynamic, timeout; timeout {AGAIN_S}s; size {MOST_ASKED}; }}
 set hairpin {{ type ipv4_addr . ipv4_addr; }}
 set sources {{ type ifname . ipv4_addr; }}
 set silent {{ type ipv4_addr; }}
 set doubted {{
  type ipv4_addr . inet_service . ipv4_addr . inet_service; flags dynamic, timeout;
  timeout {DOUBT_S}s; size {MOST_DOUBTED};
 }}
 map ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
 chain service {{
  dnat to ip daddr map @one
  ip daddr @sticky {by_client}
  {at_random}
 }}
 chain spoof {{
  type filter hook prerouting priority -300; policy accept;
  iifname "{CABLES}*" iifname . ip saddr != @sources drop
  iifname "{TUNNEL}" ip saddr != {networks.nodes} drop
 }}
 chain translate {{
  type nat hook prerouting priority -105; policy accept;
  {to_service}
  {to_port}
 }}
 chain translate_own {{
  type nat hook output priority -105; policy accept;
  {to_service}
  {to_port}
 }}
 chain unmark {{
  type filter hook prerouting priority -99; policy accept;
  {unmark}
 }}
 chain unmark_own {{
  type filter hook output priority -99; policy accept;
  {unmark}
 }}
 chain doubt {{
  type filter hook prerouting priority -98; policy accept;
  {refusal} {flow} != @doubted add @doubted {{ {flow} }} drop
 }}
 chain from {{
  type nat hook postrouting priority 95; policy accept;
  ip saddr . ip daddr @hairpin snat to {networks.gateway}
  ip saddr {networks.subnet} ip daddr != {{ {networks.nodes}, {networks.services} }} masquerade
 }}
 chain nowhere {{
  ip daddr @hold drop
  ip daddr != @refused ip daddr @asked drop
  ip daddr != @refused ip daddr != @tried {asking}
  meta l4proto tcp reject with tcp reset
  reject with icmp type host-unreachable
 }}
 chain refuse {{
  type filter hook forward priority 0; policy accept;
  ip daddr {networks.services} goto nowhere
  ip daddr @silent ct state new drop
  ip saddr {networks.nodes} tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
 }}
 chain refuse_own {{
  type filter hook output priority 0; policy accept;
  ip daddr {networks.services} goto nowhere
  oifname "{TUNNEL}" icmp type redirect drop
 }}
}}
"""
