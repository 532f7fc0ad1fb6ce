"""Which flows have to end, and reading them off the kernel's own bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel import flows
from oakctl.overlay.kernel.flows import TCP, UDP, Flow
from oakctl.overlay.kernel.planning import Leads
from oakctl.overlay.kernel.ruleset import Networks

NETWORKS = Networks("10.18.0.64/26")
CLIENT, OTHER, GONE, RR = "10.18.0.66", "10.18.0.130", "10.18.0.131", "10.30.9.1"
LEADS = {RR: Leads(tcp=frozenset({OTHER, CLIENT}), udp=frozenset({OTHER}))}


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def tuple_of(source: str, destination: str, protocol: int, ports: tuple[int, int]) -> bytes:
    addresses = attribute(1, IPv4Address(source).packed)
    addresses += attribute(2, IPv4Address(destination).packed)
    numbers = attribute(1, bytes([protocol]))
    numbers += b"".join(attribute(i + 2, port.to_bytes(2, "big")) for i, port in enumerate(ports))
    return attribute(0x8001, addresses) + attribute(0x8002, numbers)


def message(flow: Flow) -> bytes:
    """As the kernel writes it (taken from a dump of Linux 6.18)."""
    ports = (flow.source_port, flow.destination_port)
    original = tuple_of(flow.source, flow.destination, flow.protocol, ports)
    reply = tuple_of(flow.instance, flow.source, flow.protocol, ports[::-1])
    body = struct.pack("=BBH", 2, 0, 0)
    body += attribute(0x8001, original) + attribute(0x8002, reply)
    body += attribute(3, b"\0\0\1\x8e") + attribute(12, b"\1\2\3\4")
    return struct.pack("=IHHII", 16 + len(body), 0x100, 2, 1, 0) + body


def flow(destination: str, instance: str, protocol: int = TCP, source: str = CLIENT) -> Flow:
    return Flow(protocol, source, 40000, destination, 80, instance, b"")


def test_a_flow_is_read_off_its_message() -> None:
    wanted = flow(RR, OTHER, UDP)
    written = message(wanted)
    found = flows.parse(written)
    assert found is not None
    assert found == Flow(UDP, CLIENT, 40000, RR, 80, OTHER, found.key)
    assert found.key == written[20:72] + written[-8:]  # the tuple, and the flow's number
    assert any(prefix in written for prefix in flows.prefixes(NETWORKS))


PORTS = st.integers(0, 65535)
ADDRESSES = st.ip_addresses(v=4).map(str)


@given(st.sampled_from([TCP, UDP]), ADDRESSES, PORTS, ADDRESSES, PORTS, ADDRESSES)
def test_what_decides_on_a_flow_is_seen_without_reading_all_of_it(
    protocol: int, source: str, port: int, destination: str, other: int, instance: str
) -> None:
    written = message(Flow(protocol, source, port, destination, other, instance, b""))
    both = IPv4Address(destination).packed + IPv4Address(instance).packed
    assert flows.brief(written) == bytes([protocol]) + both
    assert flows.brief(written[:70]) == b""
    assert flows.brief(written[:20] + b"\0" + written[21:]) == b""


@given(st.binary(max_size=200), st.integers(0, 150))
def test_whatever_the_bytes_are_there_is_an_answer(noise: bytes, place: int) -> None:
    written = message(flow(RR, OTHER))
    assert isinstance(flows.parse(noise), Flow | None)
    assert isinstance(flows.parse(written[:place] + noise + written[place:]), Flow | None)
    assert isinstance(flows.parse(written[:place]), Flow | None)


@pytest.mark.parametrize(
    ("seen", "stale"),
    [
        (flow(RR, OTHER), False),
        (flow(RR, OTHER, UDP), False),
        (flow(RR, CLIENT), False),  # TCP may stay where it is
        (flow(RR, CLIENT, UDP), True),
        (flow(RR, GONE), True),
        (flow(RR, RR), True),  # began before there was an instance
        (flow("10.30.9.9", OTHER), True),  # a service that is not known any more
        (flow("192.0.2.1", CLIENT), False),  # by a published port
        (flow("192.0.2.1", "10.18.0.99"), True),  # likewise, and it is gone
        (flow("192.0.2.1", "10.18.0.65"), False),  # the node itself
        (flow(OTHER, OTHER), False),
        (flow("192.0.2.1", "192.0.2.1"), False),
    ],
)
def test_which_flows_have_to_end(seen: Flow, stale: bool) -> None:
    assert flows.is_stale(seen, NETWORKS, LEADS, {CLIENT}) is stale


def test_the_clients_sockets_are_named_by_both_ends() -> None:
    both = [flow(RR, OTHER), flow(RR, OTHER, source="10.18.0.67")]
    assert flows.closing(both) == (
        "( src 10.18.0.66:40000 dst 10.30.9.1:80 ) or ( src 10.18.0.67:40000 dst 10.30.9.1:80 )"
    )
