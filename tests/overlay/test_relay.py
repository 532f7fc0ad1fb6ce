"""The relay as a process of its own, with real sockets on both sides."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

import oakctl
from oakctl.overlay.plan import Listener

from .relay_host import DEADLINE_S, RelayHost, until

RR, NEAR = "10.30.9.1", "10.30.9.2"
ONE, TWO, THREE = "10.18.0.66", "10.18.0.67", "10.18.0.68"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PORT = 5005


def service(
    host: RelayHost,
    *targets: tuple[str, str] | tuple[str, str, bool],
    protocol: str = "tcp",
    policy: str = "rr",
    address: str = RR,
    port: int = PORT,
) -> Listener:
    found = tuple(host.target(t[0], t[1], PORT, *t[2:]) for t in targets)
    return Listener("app.ns.rec.ns", address, port, protocol, policy, found)


def ask(client: socket.socket, text: bytes = b"x") -> str:
    """The name of the instance that answers a datagram."""
    client.send(text)
    name, _, rest = client.recv(65536).partition(b":")
    assert rest == text
    return name.decode()


def ask_until(client: socket.socket, wanted: str) -> None:
    """Send until `wanted` answers; datagrams may be lost meanwhile, and so are not counted."""
    client.settimeout(0.1)

    def asked() -> bool:
        try:
            return ask(client) == wanted
        except TimeoutError:
            return False

    until(f"an answer of {wanted}", asked)
    client.settimeout(DEADLINE_S)


def three(host: RelayHost, kind: int) -> None:
    for name, address in (("a", ONE), ("b", TWO), ("c", THREE)):
        host.instance(name, address, PORT, kind)


def test_connections_take_strict_turns(host: RelayHost) -> None:
    three(host, TCP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO), ("c", THREE)))
    names = []
    for _ in range(12):
        client, name = host.connect(RR, PORT)
        client.close()
        names.append(name)
    assert names == ["a", "b", "c"] * 4
    status = until(
        "the count of connections",
        lambda: host.listener(RR) if host.listener(RR)["total"] == 12 else None,
    )
    assert [t["instance"] for t in status["targets"]] == ["a", "b", "c"]


def test_datagram_flows_take_strict_turns_and_stay(host: RelayHost) -> None:
    three(host, UDP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO), ("c", THREE), protocol="udp"))
    clients = [host.datagram_client(RR, PORT) for _ in range(6)]
    first = [ask(client) for client in clients]
    assert first == ["a", "b", "c"] * 2
    for _ in range(3):
        assert [ask(client) for client in clients] == first
    until("six flows in the status", lambda: host.listener(RR)["flows"] == 6)
    for client in clients:
        client.close()


def test_targets_see_which_host_a_flow_comes_from(host: RelayHost) -> None:
    instance = host.instance("a", ONE, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE)))
    client, _ = host.connect(RR, PORT)
    client.close()
    assert instance.seen[0][0] == f"127.{host.number}.0.1"


def test_closest_uses_the_first_and_moves_with_it(host: RelayHost) -> None:
    three(host, UDP)
    host.start()
    near = {"protocol": "udp", "policy": "closest", "address": NEAR}
    host.apply(service(host, ("b", TWO), ("a", ONE), **near))
    clients = [host.datagram_client(NEAR, PORT) for _ in range(4)]
    assert {ask(client) for client in clients} == {"b"}
    host.apply(service(host, ("a", ONE), ("b", TWO), **near))
    assert {ask(client) for client in clients} == {"a"}
    for client in clients:
        client.close()


def test_a_connection_ends_when_its_target_leaves(host: RelayHost) -> None:
    three(host, TCP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO)))
    to_a, name_a = host.connect(RR, PORT)
    to_b, name_b = host.connect(RR, PORT)
    assert (name_a, name_b) == ("a", "b")
    host.apply(service(host, ("b", TWO)))
    with pytest.raises(ConnectionResetError):
        to_a.recv(10)
    to_b.sendall(b"still here")
    assert to_b.recv(10, socket.MSG_WAITALL) == b"still here"
    to_a.close()
    to_b.close()


def test_datagrams_go_elsewhere_when_their_target_leaves(host: RelayHost) -> None:
    three(host, UDP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO), protocol="udp"))
    with host.datagram_client(RR, PORT) as client:
        assert ask(client) == "a"
        host.end_instance("a")
        host.apply(service(host, ("b", TWO), protocol="udp"))
        assert ask(client) == "b"


def test_a_draining_target_keeps_connections_and_gets_no_new_ones(host: RelayHost) -> None:
    three(host, TCP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO)))
    old, name = host.connect(RR, PORT)
    assert name == "a"
    host.apply(service(host, ("a", ONE, False), ("b", TWO)))
    for _ in range(4):
        client, name = host.connect(RR, PORT)
        assert name == "b"
        client.close()
    old.sendall(b"on")
    assert old.recv(2, socket.MSG_WAITALL) == b"on"
    old.close()


def test_a_service_without_targets_refuses_connections(host: RelayHost) -> None:
    host.start()
    host.apply(service(host))
    end = (host.driver.local_service_address(RR), PORT)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(end, timeout=DEADLINE_S)
    host.instance("a", ONE, PORT, TCP)
    host.apply(service(host, ("a", ONE)))
    client, name = host.connect(RR, PORT)
    client.close()
    assert name == "a"


def test_a_target_that_refuses_is_passed_over(host: RelayHost) -> None:
    host.instance("b", TWO, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO)))
    for _ in range(4):
        client, name = host.connect(RR, PORT)
        client.close()
        assert name == "b"


def test_both_directions_end_for_themselves(host: RelayHost) -> None:
    host.instance("a", ONE, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE)))
    client, _ = host.connect(RR, PORT)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while piece := client.recv(100):
        answer += piece
    client.close()
    assert answer == b"questionend"
    until("no connection left", lambda: host.listener(RR)["flows"] == 0)


def test_a_slow_reader_slows_the_sender_and_loses_nothing(host: RelayHost) -> None:
    host.instance("a", ONE, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE)))
    client, _ = host.connect(RR, PORT)
    sent = bytes(range(256)) * 4096 * 64  # 64 MiB: more than all buffers on the way hold
    sender = threading.Thread(target=client.sendall, args=(sent,), daemon=True)
    sender.start()
    assert rss_mb(host) < 30  # nothing is read back yet: it has to wait outside the relay
    received = bytearray()
    while len(received) < len(sent):
        received += client.recv(1 << 20)
    sender.join(DEADLINE_S)
    client.close()
    assert received == sent
    assert rss_mb(host) < 30


def test_large_datagrams_arrive_whole(host: RelayHost) -> None:
    host.instance("a", ONE, PORT, UDP)
    host.start()
    host.apply(service(host, ("a", ONE), protocol="udp"))
    piece = bytes(range(256)) * 128  # 32 KiB
    with host.datagram_client(RR, PORT) as client:
        for _ in range(300):
            assert ask(client, piece) == "a"
    assert host.listener(RR)["dropped"] == 0


def test_a_port_that_a_stranger_holds_is_reported_and_taken_when_free(host: RelayHost) -> None:
    three(host, TCP)
    host.start()
    stranger = socket.create_server((host.driver.local_service_address(NEAR), PORT))
    host.apply(service(host, ("a", ONE)), service(host, ("b", TWO), address=NEAR, policy="closest"))
    blocked = host.listener(NEAR)
    assert not blocked["listening"]
    assert "in use" in blocked["error"]
    assert any("in use" in problem for problem in host.driver.problems())
    client, name = host.connect(RR, PORT)
    client.close()
    assert name == "a"
    stranger.close()
    until("the listener to open", lambda: host.listener(NEAR)["listening"])
    client, name = host.connect(NEAR, PORT)
    client.close()
    assert name == "b"
    assert host.driver.problems() == ()


def test_a_datagram_port_that_a_stranger_holds_is_reported(host: RelayHost) -> None:
    host.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((host.driver.local_service_address(RR), PORT))
        host.apply(service(host, ("a", ONE), protocol="udp"))
        assert "in use" in host.listener(RR)["error"]


def test_a_restarted_relay_goes_on_from_its_file_without_an_agent(host: RelayHost) -> None:
    three(host, UDP)
    host.start()
    host.apply(service(host, ("a", ONE), protocol="udp"))
    with host.datagram_client(RR, PORT) as client:
        assert ask(client) == "a"
        host.end(9)
        assert host.driver.problems() == ("the relay does not run",)
        host.start()
        ask_until(client, "a")
    assert host.driver.problems() == ()


def test_a_table_written_while_the_relay_is_away_is_read_when_it_starts(host: RelayHost) -> None:
    host.instance("a", ONE, PORT, TCP)
    host.apply(service(host, ("a", ONE)))
    host.start()
    client, name = host.connect(RR, PORT)
    client.close()
    assert name == "a"


@pytest.mark.parametrize(
    "spoilt", ["", "{", "[]", '{"number": 2, "listeners": []}', '{"number": null}']
)
def test_a_spoilt_table_changes_nothing(host: RelayHost, spoilt: str) -> None:
    host.instance("a", ONE, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE)))
    assert host.process is not None
    loads = host.status()["loads"]
    (host.state / "overlay.json").write_text(spoilt)
    host.process.send_signal(1)
    until("the file to be read", lambda: host.status()["loads"] > loads)
    assert "overlay.json" in host.driver.problems()[0]
    client, name = host.connect(RR, PORT)
    client.close()
    assert name == "a"
    host.apply(service(host, ("a", ONE)))
    assert host.driver.problems() == ()


def test_a_second_relay_leaves_the_first_alone(host: RelayHost) -> None:
    host.start()
    second = host.spawn()
    assert second.wait(DEADLINE_S) == 1
    assert "another relay" in host.log.read_text()
    assert host.driver.relay_pid() == host.process.pid


def test_it_ends_cleanly_and_is_never_signalled_afterwards(host: RelayHost) -> None:
    host.instance("a", ONE, PORT, TCP)
    host.start()
    host.apply(service(host, ("a", ONE)))
    client, _ = host.connect(RR, PORT)
    assert host.end() == 0
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    client.close()
    assert host.driver.relay_pid() is None
    assert "Traceback" not in host.log.read_text()
    # A pid file of a relay that was killed: the id may be anyone's by now.
    (host.run / "relay.pid").write_text("1\n")
    assert host.driver.relay_pid() is None


def test_many_connections_at_once_are_spread_evenly(host: RelayHost) -> None:
    three(host, TCP)
    host.start()
    host.apply(service(host, ("a", ONE), ("b", TWO), ("c", THREE)))
    names: list[str] = []
    clients: list[socket.socket] = []

    def connect() -> None:
        for _ in range(15):
            client, name = host.connect(RR, PORT)
            clients.append(client)
            names.append(name)

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    for client in clients:
        client.close()
    assert Counter(names) == {"a": 20, "b": 20, "c": 20}


def rss_mb(host: RelayHost) -> float:
    """Resident memory of the relay, MiB."""
    assert host.process is not None
    for line in Path(f"/proc/{host.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def test_the_relay_weighs_little(host: RelayHost) -> None:
    host.start()
    host.apply(service(host, ("a", ONE)), service(host, ("a", ONE), protocol="udp", address=NEAR))
    sys.stdout.write(f"relay: {rss_mb(host):.1f} MiB resident\n")
    assert rss_mb(host) < 20


def test_the_relay_imports_neither_model_nor_tls() -> None:
    inspect = (
        "import sys, oakctl.overlay.loopback.relay\n"
        "heavy = {'attr', 'cattrs', 'nats', 'ssl', 'asyncio', 'oakctl.model'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = str(Path(oakctl.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", inspect], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
