"""The kernel overlay on hosts of a namespaces lab: real rules, real packets."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.model.service import ServiceAddresses
from tests.waiting import until_now

from .nodes import CLOSEST, PORT, RR, Failed, Node, end, say, table, target
from .requirements import REPOSITORY

MakeNode = Callable[..., Node]
A1, A2, A3, B1, B2 = "10.18.0.66", "10.18.0.67", "10.18.0.68", "10.18.0.130", "10.18.0.131"
GATEWAY_A = "10.18.0.65"
LEAST = "10.30.9.3"
pytestmark = pytest.mark.slow


def names(answers: list[str]) -> Counter[str]:
    return Counter(answer.split()[0] for answer in answers)


@pytest.mark.parametrize("way", ["library", "command"])
def test_service_addresses_lead_to_instances_from_everywhere(make_node: MakeNode, way: str) -> None:
    a, b = make_node("a", way), make_node("b", way)
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.call("attach", A2)
    targets = (target("a", A1), target("b", B1))
    a.apply(table(*targets))
    b.apply(table(*targets))
    for client, source in ((A2, A2), ("", GATEWAY_A)):
        for protocol in ("tcp", "udp"):
            answers = a.ask(client, RR, 60, protocol)
            assert set(answers) == {f"a1 {source}", f"b1 {source}"}
            assert set(a.ask(client, CLOSEST, 3, protocol)) == {f"a1 {source}"}
    # An instance reaches itself: by the node's address, or it would drop its own.
    assert set(a.ask(A1, RR, 60)) == {f"a1 {GATEWAY_A}", f"b1 {A1}"}
    assert set(b.ask("", CLOSEST, 3)) == {"b1 10.18.0.129"}
    assert a.ask(A2, B1) == [f"b1 {A2}"]
    assert "1 received" in a.run("ip", "netns", "exec", f"oak-{A2}", "ping", "-c1", CLOSEST)


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


def test_who_drains_keeps_its_flows_and_gets_no_new_ones(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    b.serve(B2, "b2")
    a.apply(table(target("b", B1)))
    tcp, udp = a.talk(A2, RR, "tcp"), a.talk(A2, RR, "udp")
    assert say(tcp) == say(udp) == f"b1 {A2}"
    a.apply(table(target("b", B1, draining=True), target("b", B2)))
    assert names(a.ask(A2, RR, 20)) == {"b2": 20}
    assert say(tcp) == say(udp) == f"b1 {A2}"


def test_flows_of_a_dead_instance_end_or_move(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    a.apply(table(target("b", B1)))
    clients = (A2, "")
    tcp = [a.talk(client, RR, "tcp") for client in clients]
    udp = [a.talk(client, RR, "udp") for client in clients]
    readers = [a.listen(client, RR) for client in clients]
    for flow in (*tcp, *udp):
        assert say(flow).startswith("b1")
    b.serve(B2, "b2")
    b.run("ip", "link", "delete", "oakv0a120082")  # silent from now on
    a.apply(table(target("b", B2)))
    assert [say(flow).split()[0] for flow in udp] == ["b2", "b2"]
    for flow in tcp:
        assert say(flow) in ("ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError")
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ConnectionAbortedError\n"


@pytest.mark.parametrize("way", ["library", "command"])
def test_a_client_stays_with_its_instance_while_that_lives(make_node: MakeNode, way: str) -> None:
    a, b = make_node("a", way), make_node("b")
    a.call("attach", A2)
    for address, name in ((B1, "b1"), (B2, "b2")):
        b.serve(address, name)
    two = replace(table(target("b", B1), target("b", B2)), affinity="client")
    a.apply(two)
    by_client = {client: set(names(a.ask(client, RR, 20))) for client in (A2, "")}
    assert [len(found) for found in by_client.values()] == [1, 1]
    (its,) = by_client[A2]
    stays, goes = (B1, B2) if its == "b1" else (B2, B1)
    a.apply(replace(two, targets=(target("b", stays),)))
    a.apply(two)
    # Who came first has all places but those that were taken from it; a new agent keeps to that.
    places = a.run("nft", "list", "map", "ip", "oakctl", "slots")
    found = names(a.ask(A2, RR, 20))
    a.kill()
    a.start()
    a.apply(two)
    assert a.run("nft", "list", "map", "ip", "oakctl", "slots") == places
    assert names(a.ask(A2, RR, 20)) == found
    a.apply(replace(two, targets=(target("b", goes),)))
    assert names(a.ask(A2, RR, 5)) == {"b2" if its == "b1" else "b1": 5}


def test_new_flows_are_shared_by_weight_and_by_what_is_to_spare(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    for address, name in ((B1, "b1"), (B2, "b2")):
        b.serve(address, name)
    shares = table(target("b", B1, weight=9, spare=0), target("b", B2, weight=1, spare=4))
    a.apply(replace(shares, addresses=ServiceAddresses(RR, CLOSEST, LEAST)))
    found = names(a.ask("", RR, 100))
    assert found["b1"] > found["b2"]  # 90 and 10 of a hundred
    assert names(a.ask("", LEAST, 20)) == {"b2": 20}
    assert "1 received" in a.run("ping", "-c1", LEAST)


def test_udp_follows_the_closest_and_tcp_stays(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    a.apply(table(target("b", B1)))
    tcp, udp = a.talk(A2, CLOSEST, "tcp"), a.talk(A2, CLOSEST, "udp")
    assert say(tcp) == say(udp) == f"b1 {A2}"
    a.serve(A1, "a1")
    a.apply(table(target("b", B1), target("a", A1)))
    assert say(tcp) == f"b1 {A2}"
    assert say(udp) == f"a1 {A2}"


def test_one_in_which_nothing_runs_gets_no_new_flows_and_keeps_its_last_words(
    make_node: MakeNode,
) -> None:
    a, b = make_node("a"), make_node("b")
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.call("attach", A2)
    a.apply(table(target("a", A1), target("b", B1), published=8080))
    tcp, udp = a.talk(A2, CLOSEST, "tcp"), a.talk(A2, CLOSEST, "udp")
    assert say(tcp) == say(udp) == f"a1 {A2}"
    assert a.call("down", [A1]) is True
    assert names(a.ask(A2, RR, 20)) == {"b1": 20}
    assert say(tcp) == f"a1 {A2}"
    assert say(udp) == f"b1 {A2}"
    assert b.ask("", a.lab.address("a"), port=8080) == ["ConnectionRefusedError"]
    a.call("down", [])
    assert names(a.ask(A2, CLOSEST, 2)) == {"a1": 2}


def test_a_service_address_that_is_taken_is_told(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    mine = table(target("a", A1))
    a.apply(mine, replace(mine, job_name="z.n.thief.n", targets=()))
    assert names(a.ask(A1, RR, 3)) == {"a1": 3}
    (first, second) = a.call("problems")
    assert first == f"service address {RR} is taken by ar.ns.rec.ns: z.n.thief.n cannot have it"
    assert second.startswith(f"service address {CLOSEST} is taken")


def test_an_instance_that_is_detached_is_left_out_at_once(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    a.serve(A1, "a1")
    b.serve(B1, "b1")
    a.apply(table(target("a", A1), target("b", B1)))
    a.call("detach", A1)
    assert names(a.ask(A2, RR, 20)) == {"b1": 20}
    assert names(a.ask(A2, CLOSEST, 2)) == {"b1": 2}


def test_published_ports_lead_to_the_instance_here(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1), published=8080))
    assert b.ask("", a.lab.address("a"), port=8080) == [f"a1 {a.lab.address('b')}"]
    assert names(a.ask("", a.lab.address("a"), port=8080)) == {"a1": 1}
    a.apply(table(target("a", A1)))
    assert b.ask("", a.lab.address("a"), port=8080) == ["ConnectionRefusedError"]


def test_an_instance_reaches_the_world_by_the_hosts_address(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A1)
    b.serve(B1, "b1")
    b.apply(table(target("b", B1), published=8080))
    assert a.ask(A1, b.lab.address("b"), port=8080) == [f"b1 {a.lab.address('a')}"]


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


def test_the_data_plane_goes_on_without_the_agent_and_a_new_one_takes_over(
    make_node: MakeNode,
) -> None:
    a, b = make_node("a"), make_node("b")
    a.call("attach", A2)
    b.serve(B1, "b1")
    b.serve(B2, "b2")
    a.apply(table(target("b", B1)))
    flow = a.talk(A2, RR, "tcp")
    assert say(flow) == f"b1 {A2}"
    a.kill()
    assert say(flow) == f"b1 {A2}"
    assert names(a.ask(A2, RR, 3)) == {"b1": 3}
    a.start()  # knows no tables yet, and which instances it has
    assert say(flow) == f"b1 {A2}"
    assert names(a.ask(A2, RR, 3)) == {"b1": 3}
    a.apply(table(target("b", B1), target("b", B2)))
    assert say(flow) == f"b1 {A2}"
    assert set(names(a.ask(A2, RR, 40))) == {"b1", "b2"}


def test_a_second_time_changes_nothing(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    assert a.apply(table(target("a", A1))) is True
    before = a.run("nft", "list", "ruleset"), a.run("ip", "addr"), a.run("ip", "route")
    assert a.apply(table(target("a", A1))) is False
    a.call("attach", A1)
    assert (a.run("nft", "list", "ruleset"), a.run("ip", "addr"), a.run("ip", "route")) == before
    assert a.call("problems") == []


@pytest.mark.parametrize(
    "damage",
    [
        ("nft", "flush", "ruleset"),
        ("nft", "flush", "chain", "ip", "oakctl", "service"),
        ("nft", "delete", "table", "ip", "oakctl"),
        ("nft", "flush", "map", "ip", "oakctl", "one"),
        ("nft", "add", "element", "ip", "oakctl", "hold", "{ 10.30.9.9 }"),
    ],
)
def test_rules_that_somebody_changed_are_told_and_mended(
    make_node: MakeNode, damage: tuple[str, ...]
) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    second = table(target("a", A1), target("b", B1), published=8080)
    other = replace(second, job_name="x.n.x.n", addresses=ServiceAddresses(LEAST))
    a.apply(table(target("a", A1)), replace(other, affinity="client"))
    assert a.call("problems") == []
    a.run(*damage)
    assert ["changed" in problem for problem in a.call("problems")] == [True]
    assert a.call("problems") == []
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("sysctl -qw net.ipv4.ip_forward=0", "forwarding was turned off by somebody"),
        ("ip link delete oak0", "the interface oak0 was removed by somebody"),
    ],
)
def test_what_else_of_the_host_somebody_changed_is_told_and_mended(
    make_node: MakeNode, damage: str, words: str
) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1)))
    assert a.call("problems") == []
    a.run(*damage.split())
    assert [each.partition(";")[0] for each in a.call("problems")] == [words]
    assert a.call("problems") == []
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}
    assert names(a.ask("", RR)) == {"a1": 1}


def test_a_change_after_the_table_was_removed_is_made_all_the_same(make_node: MakeNode) -> None:
    a = make_node("a")
    a.serve(A1, "a1")
    a.run("nft", "flush", "ruleset")
    with pytest.raises(Failed, match="nft: "):
        a.apply(table(target("a", A1)))
    a.apply(table(target("a", A1)))
    assert names(a.ask(A1, CLOSEST)) == {"a1": 1}


def test_beside_rules_that_drop_what_is_forwarded(make_node: MakeNode) -> None:
    a, b = make_node("a"), make_node("b")
    a.run("iptables", "-P", "FORWARD", "DROP")
    a.run("iptables", "-N", "DOCKER-USER")
    a.run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    a.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    a.run("sh", "-c", "sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true")
    before = a.run("iptables", "-S")
    try:
        b.serve(B1, "b1")
        a.serve(A1, "a1")
        a.call("attach", A2)
        a.apply(table(target("a", A1), target("b", B1)))
        assert a.call("problems") == []  # what is looked at now and then: they came after us
        assert set(names(a.ask(A2, RR, 40))) == {"a1", "b1"}
        assert names(b.ask("", A1)) == {"a1": 1}
        # Somebody flushes the chain, or starts what fills it anew.
        a.run("iptables", "-F", "DOCKER-USER")
        assert ["was put back" in each for each in a.call("problems")] == [True]
        assert a.call("problems") == []
        assert set(names(a.ask(A2, RR, 40))) == {"a1", "b1"}
        a.call("remove")
        assert a.run("iptables", "-S") == before
    finally:
        a.run("iptables", "-F")
        a.run("iptables", "-X")
        a.run("iptables", "-P", "FORWARD", "ACCEPT")
        a.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")


def state_of(node: Node) -> list[str]:
    """All that the overlay might leave behind on a host."""
    return [
        node.run("nft", "list", "ruleset"),
        node.run("ip", "-brief", "link"),
        node.run("ip", "-o", "-4", "addr"),
        node.run("ip", "route", "show", "table", "all"),
        node.run("ip", "netns"),
        node.run("sysctl", "net.ipv4.ip_forward"),
    ]


def test_removal_leaves_nothing(make_node: MakeNode) -> None:
    a = make_node("a")
    a.call("remove")
    a.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    # A kernel says that a cable has its carrier some time after both ends are up.
    until_now("its cable", lambda: "LOWER_UP" in a.run("ip", "-brief", "link", "show", "eth0"))
    before = state_of(a)
    a.call("start")
    a.serve(A1, "a1")
    a.apply(table(target("a", A1), published=8080))
    assert state_of(a) != before
    a.kill()
    a.start()  # another process than the one that made it
    a.call("remove")
    assert state_of(a) == before


def test_packets_are_forwarded_on_for_a_docker_that_came_later(make_node: MakeNode) -> None:
    a = make_node("a")
    a.call("remove")
    a.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    a.call("start")
    a.run("iptables", "-N", "DOCKER-USER")
    a.call("remove")
    try:
        assert a.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"
    finally:
        a.run("iptables", "-X", "DOCKER-USER")


OF_AN_AGENT = """
import sys
from oakctl.model.config import BusAccess, WorkerConfig
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay, follow, remove
prefix, *subnets = sys.argv[1:]
bus = BusAccess("", "edge", "", "a", "")
config = WorkerConfig("a", "edge", prefix, bus, overlay_driver="kernel")
"""
FOLLOWING = """
overlay = KernelOverlay(config, lambda: subnets[0])
strangers = {f"10.18.9.{number}": (int(subnets[1]), True) for number in range(50)}
follow(overlay, {"10.18.0.66": (int(subnets[1]), True), **strangers})
overlay.wait(60)
print(*overlay.driver().attached())
"""
ENROLLED_ANEW = """
overlay = KernelOverlay(config, lambda: subnets[0])
if not subnets:
    remove(config)
while subnets:
    print(overlay.key(), *sorted(overlay.driver().attached()))
    overlay.driver().attach(subnets[0].replace(".64/26", ".66"))
    subnets.pop(0)
"""


def of_an_agent(code: str, folder: Path) -> tuple[str, ...]:
    """The command line of what is on the agent's side of the overlay."""
    program = ("env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-c", OF_AN_AGENT + code)
    return (*program, str(folder / "prefix"))


def test_one_that_cannot_be_attached_is_not_in_the_way_of_others(
    make_node: MakeNode, tmp_path: Path
) -> None:
    a = make_node("a")
    a.apart("one")
    number = a.run("pgrep", "-f", "serve one ").split()[0]
    assert a.run(*of_an_agent(FOLLOWING, tmp_path), a.subnet, number) == f"{A1}\n"


def test_of_a_former_subnet_nothing_stays_but_the_key(make_node: MakeNode, tmp_path: Path) -> None:
    a = make_node("a")
    a.call("remove")
    before = state_of(a)
    words = of_an_agent(ENROLLED_ANEW, tmp_path)
    first = a.run(*words, "10.18.0.64/26", "10.18.2.64/26").split()
    # The agent ended before it had taken all of it away, or was told while it was not there.
    a.run("ip", "address", "add", GATEWAY_A, "dev", "oak0")
    a.run("ip", "netns", "add", f"oak-{A2}")
    again = a.run(*words, "10.18.2.64/26").split()
    assert (len(set(first)), again) == (1, [first[0], "10.18.2.66"])
    assert a.run("ip", "netns", "list").split()[0] == "oak-10.18.2.66"
    assert "10.18.0." not in a.run("ip", "route", "show", "dev", "oak0")
    assert "10.18.0." not in a.run("ip", "address", "show", "dev", "oak0")
    a.run(*words)  # of whatever subnet: no document says it
    assert state_of(a) == before
    assert not list((tmp_path / "prefix").rglob("wireguard.key"))


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


def test_what_is_for_the_overlay_never_leaves_by_the_hosts_own_route(make_node: MakeNode) -> None:
    a = make_node("a")
    gateway = a.lab.address("b")
    a.run("ip", "route", "replace", "default", "via", gateway)
    for address in ("10.18.200.1", "10.30.200.1"):
        found = a.run("sh", "-c", f"ip route get {address} 2>&1 || true")
        assert gateway not in found
    assert a.ask("", "10.18.200.1", port=PORT) == ["OSError"]


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
