"""Which nodes answer: by the numbers, and by pulling a real node's cables under load."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model.overlay import TUNNEL_PORT
from oakctl.overlay.kernel import liveness, probes
from oakctl.overlay.kernel.liveness import Pulse, answered, sent

from .conftest import MakeNode
from .nodes import CLOSEST, RR, end, say, table, target
from .requirements import REPOSITORY

HUB, PUBLIC, HOME = "10.18.0.2", "10.18.0.194", "10.18.1.2"


def after(pulse: Pulse, *events: str) -> Pulse:
    for event in events:
        large = event.endswith("!")
        pulse = sent(pulse, large) if event[0] == "s" else answered(pulse, large, 10.0)
    return pulse


def test_three_missed_probes_are_the_end_and_one_answer_the_return() -> None:
    gone = after(Pulse(), "s", "a", "s", "s", "s")
    assert gone.reachable
    assert not after(gone, "s").reachable
    assert after(gone, "s", "a").reachable


def test_a_path_for_small_packets_only_is_none() -> None:
    rounds = ("s", "a") * 9 + ("s!",)
    assert after(Pulse(), *(rounds * 3), "s", "a").reachable
    broken = after(Pulse(), *(rounds * 4), "s", "a")
    assert not broken.reachable
    assert after(broken, "a!").reachable


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_the_measure_lies_within_what_was_measured(measures: list[float]) -> None:
    pulse = Pulse()
    for each in measures:
        pulse = answered(sent(pulse, False), False, each)
    assert min(measures) - 1e-6 <= pulse.round_trip_ms <= max(measures) + 1e-6
    assert answered(pulse, True, 5000.0).round_trip_ms == pulse.round_trip_ms


def test_what_is_news() -> None:
    near, dead = Pulse(10.0), Pulse(10.0, waiting=9)
    assert not liveness.is_news({"a": near}, {"a": Pulse(10.4)})
    assert liveness.is_news({"a": near}, {"a": Pulse(12.0)})
    assert liveness.is_news({"a": near}, {"a": dead})
    assert liveness.is_news({}, {"a": near})
    assert not liveness.is_news({"a": dead}, {"a": Pulse(500.0, waiting=20)})
    assert liveness.round_trips_ms({"a": dead, "b": Pulse()}) == {}


@given(st.binary(max_size=100))
def test_whatever_comes_is_no_answer_of_ours(packet: bytes) -> None:
    assert probes.answer_to(packet, 0x1234) == -1 or packet[0] >> 4 >= 0


def test_an_echo_is_known_again_and_adds_up() -> None:
    for large in (False, True):
        asked = probes.echo(0x1234, 77, large)
        assert len(asked) == (1260 if large else 16)
        words = [int.from_bytes(asked[i : i + 2], "big") for i in range(0, len(asked), 2)]
        assert sum(words) % 0xFFFF == 0
        came = bytes([0x45]) + bytes(19) + bytes([0]) + asked[1:]
        assert probes.answer_to(came, 0x1234) == 77
        assert probes.answer_to(came, 0x1235) == -1


HEAR = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as hearer:
    print("ready", flush=True)
    while True:
        packet = hearer.recv(2048)
        if packet[20] == 8:
            print(len(packet), packet[6] >> 6 & 1, flush=True)
"""
SAY = """
import sys
from oakctl.overlay.kernel import probes
with probes.opened_for_echoes() as opened:
    opened.sendto(probes.echo(1, 1, True), (sys.argv[1], 0))
"""


@pytest.mark.slow
def test_a_large_echo_goes_in_one_piece(lab: NamespaceLab) -> None:
    hearer = lab.spawn("b", (sys.executable, "-S", "-c", HEAR))
    try:
        assert hearer.stdout is not None
        assert hearer.stdout.readline() == b"ready\n"
        there = lab.address("b")
        narrow = (f"{there}/32", "dev", "eth0", "mtu", "600")
        lab.run("a", ("ip", "route", "add", *narrow))
        try:
            code = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", SAY)
            lab.run("a", (*code, there))
        finally:
            lab.run("a", ("ip", "route", "delete", *narrow))
        assert hearer.stdout.readline() == b"1280 1\n"
    finally:
        end(hearer)


@pytest.mark.slow
def test_no_new_connection_fails_when_a_node_loses_its_power(
    make_site_node: MakeNode,
) -> None:
    hub, public = make_site_node("hub"), make_site_node("public")
    home = make_site_node("home", probing=True)
    hub.serve(HUB, "hub")
    public.serve(PUBLIC, "public")
    home.call("attach", HOME)
    known = [
        *(node.known_as(f"{node.lab.address(node.host)}:{TUNNEL_PORT}") for node in (hub, public)),
        home.known_as(),
    ]
    for node in (hub, public, home):
        node.connect(*known)
    home.apply(table(target("public", PUBLIC)))
    tcp, udp = home.talk(HOME, RR, "tcp"), home.talk(HOME, RR, "udp")
    assert say(tcp) == say(udp) == f"public {HOME}"
    home.apply(table(target("public", PUBLIC), target("hub", HUB)))
    while {answer.split()[0] for answer in home.ask(HOME, RR, 10)} != {"hub", "public"}:
        pass
    load = home.load(HOME, RR, "hub")
    assert load.stdout is not None
    assert load.stdout.readline() == b"under way\n"
    home.lab.cut("public")
    try:
        answers = set(json.loads(load.stdout.readline()))
        assert not {answer for answer in answers if answer.startswith("no connection")}
        assert answers >= {"hub", "public"}
        while (heard := say(udp)) != f"hub {HOME}":
            assert heard == "TimeoutError"  # what was under way
        assert say(tcp) in ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError")
        assert {answer.split()[0] for answer in home.ask(HOME, CLOSEST, 3)} == {"hub"}
    finally:
        home.lab.heal("public")
    again: set[str] = set()
    while "public" not in again:  # the test's own time limit is the deadline
        again = {answer.split()[0] for answer in home.ask(HOME, RR, 20)}
    assert again == {"hub", "public"}
