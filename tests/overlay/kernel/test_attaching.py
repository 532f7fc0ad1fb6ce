"""The network of an instance: which one it gets, and what it cannot do with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .nodes import A1, A2, A3, B1, GATEWAY_A, RR, Failed, Node, end, state_of, table, target

MakeNode = Callable[..., Node]
pytestmark = pytest.mark.slow


def test_an_instance_cannot_lie_about_its_address(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A1)
    b.call("attach", B1)
    hearer = b.hear(B1)
    inside = ("ip", "netns", "exec", f"oak-{A1}")
    a.run(*inside, "ip", "addr", "add", f"{A3}/32", "dev", "eth0")
    for source in (A3, A1):
        way = ("default", "via", GATEWAY_A, "dev", "eth0", "src", source)
        a.run(*inside, "ip", "route", "replace", *way)
        a.ask(A1, B1, protocol="udp")
    assert hearer.stdout is not None
    assert hearer.stdout.readline() == f"{A1}\n".encode()


def test_an_address_of_another_node_gets_no_namespace(make_node: MakeNode) -> None:
    with pytest.raises(Failed, match=r"10\.18\.0\.130 is not in 10\.18\.0\.64/26"):
        make_node("a").call("attach", B1)


def test_the_hosts_own_network_is_never_taken_for_an_instances(make_node: MakeNode) -> None:
    a = make_node("a")
    before = state_of(a)
    server = a.hear("")
    with pytest.raises(Failed, match="the host's own network"):
        a.call("attach_process", [A1, int(a.run("pgrep", "-f", "programs.py hear").split()[0])])
    end(server)
    assert state_of(a) == before


def test_a_process_that_came_with_a_network_of_its_own_gets_the_address(
    make_node: MakeNode,
) -> None:
    a = make_node("a")
    a.call("attach", A2)
    for name in ("first", "second"):  # as a container that is started anew
        container = a.apart(name)
        number = int(a.run("pgrep", "-f", f"serve {name} ").split()[0])
        assert a.call("attach_process", [A1, number]) == f"oak-{A1}"
        a.apply(table(target("a", A1)))
        assert a.ask(A2, RR) == [f"{name} {A2}"]
        assert a.ask("", A1) == [f"{name} {GATEWAY_A}"]
        end(container)
    a.call("detach", A1)
    assert f"oak-{A1}" not in a.run("ip", "netns")
