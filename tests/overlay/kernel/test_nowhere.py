"""Addresses that lead nowhere: refused, waited for, or asked for; never to elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.waiting import until_now

from .nodes import A1, A2, CLOSEST, PORT, RR, Node, end, say, table, target

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


def test_what_leads_nowhere_is_refused_at_once_and_what_comes_back_is_waited_for(
    make_node: MakeNode,
) -> None:
    a = make_node("a")
    a.call("attach", A2)
    for client in (A2, ""):
        assert a.ask(client, "10.30.77.7") == ["ConnectionRefusedError"]
    a.apply(table())
    assert a.ask(A2, RR) == ["ConnectionRefusedError"]
    a.apply(table(expected=1))
    waiting = a.talk(A2, RR, "tcp")
    assert waiting.stdin is not None
    waiting.stdin.write(b"\n")
    waiting.stdin.flush()
    a.serve(A1, "a1")
    a.apply(table(target("a", A1), expected=1))
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == f"a1 {A2}\n".encode()


def test_an_address_of_no_table_is_asked_for_and_its_first_connection_succeeds(
    make_node: MakeNode,
) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.call("attach", A2)
    a.apply(table(expected=1))
    # One that waits for an instance is known, and so is one that has none.
    held = [a.talk(client, address, "tcp") for client in (A2, "") for address in (RR, CLOSEST)]
    assert a.call("asked") == []
    for flow in held:
        end(flow)
    a.apply()
    waiting = [a.talk(client, RR, "tcp") for client in (A2, "")]
    until_now("it is asked for", lambda: a.call("asked"), lambda found: found == [RR], wait_s=60)
    a.apply(table(target("a", A1)))
    assert a.call("asked") == []
    assert [say(flow).split()[0] for flow in waiting] == ["a1", "a1"]


def test_what_nobody_has_is_refused_and_a_flood_is_bounded(make_node: MakeNode) -> None:
    a = make_node("a")
    a.call("attach", A2)
    asking = a.talk(A2, "10.30.77.7", "tcp")
    asked = until_now(
        "it is asked for", lambda: a.call("asked"), lambda found: "10.30.77.7" in found, wait_s=60
    )
    a.call("refuse", asked)
    assert asking.wait(60) != 0  # refused: it did not wait for its own deadline
    assert a.ask(A2, "10.30.77.7") == ["ConnectionRefusedError"]
    assert "10.30.77.7" not in a.call("asked")
    a.run(sys.executable, "-S", "-c", FLOOD)
    asked = a.call("asked")
    assert 0 < len(asked) <= 256
    a.call("refuse", asked)
    assert not set(a.call("asked")) & set(asked)
    assert a.call("problems") == []
    a.apply(table(target("a", A2)))
    assert a.call("used") == []
    flow = a.talk(A2, RR, "udp")
    say(flow)
    assert a.call("used") == [RR]


FLOOD = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
    for number in range(2000):
        try:
            flood.sendto(b"", (f"10.30.{100 + number // 200}.{1 + number % 200}", 9))
        except OSError:
            pass
"""


def test_what_is_for_the_overlay_never_leaves_by_the_hosts_own_route(make_node: MakeNode) -> None:
    a = make_node("a")
    gateway = a.lab.address("b")
    a.run("ip", "route", "replace", "default", "via", gateway)
    for address in ("10.18.200.1", "10.30.200.1"):
        found = a.run("sh", "-c", f"ip route get {address} 2>&1 || true")
        assert gateway not in found
    assert a.ask("", "10.18.200.1", port=PORT) == ["OSError"]
