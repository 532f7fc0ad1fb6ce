"""The packet rules of a site's router, as text for `nft -f`. Pure.

Belongs here: what makes a router a full-cone, port-restricted or symmetric NAT, or a firewall.
Does not belong here: loading it (`network`).
"""

from __future__ import annotations

from oakctl.lab.machines.lab_file import Nat, Site, Udp

MAPPING = "10m"  # how long a full cone keeps a port open


def text(site: Site) -> str:
    """The whole rule set of the site's router; loading it replaces the one before."""
    chains = [_forward(site)]
    if site.nat is Nat.FULL_CONE:
        chains.append(_FULL_CONE)
    if site.nat is not Nat.NONE:
        # Without a flag the kernel keeps the source port, whoever it is sent to: one mapping
        # for all destinations. With a random port for each flow there is one per destination.
        flag = " fully-random" if site.nat is Nat.SYMMETRIC else ""
        chains.append(
            "chain translate {\n"
            "type nat hook postrouting priority srcnat\n"
            f'oifname "wan0" masquerade{flag}\n'
            "}"
        )
        chains.append(_CLOSED)
    body = "\n".join(chains)
    return f"table inet lab\ndelete table inet lab\ntable inet lab {{\n{body}\n}}\n"


def _forward(site: Site) -> str:
    rules = ["type filter hook forward priority filter"]
    if site.udp is Udp.DROP:
        rules.append("meta l4proto udp drop")
    if site.nat is not Nat.NONE:
        rules.append("ct state established,related accept")
        rules.append('iifname "wan0" ct status dnat accept')
        rules.append('iifname "wan0" drop')
    return "chain firewall {\n" + "\n".join(rules) + "\n}"


# The router itself hears nobody from outside who was not asked. Else it would take note of what
# comes too early to a port, and give that port to nobody inside.
_CLOSED = """chain own {
type filter hook input priority filter
iifname "wan0" meta l4proto udp ct state new drop
}"""

# Whoever sends from a port owns it for a while: what comes to that port, from anybody, is his.
_FULL_CONE = f"""map owner {{
type inet_service : ipv4_addr
size 65535
flags dynamic,timeout
timeout {MAPPING}
}}
chain learn {{
type filter hook postrouting priority mangle
oifname "wan0" meta l4proto udp add @owner {{ udp sport : ip saddr }}
}}
chain deliver {{
type nat hook prerouting priority dstnat
iifname "wan0" meta l4proto udp dnat ip to udp dport map @owner
}}"""
