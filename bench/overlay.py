"""Through a service address of the kernel overlay, beside the same way without one.

    sudo python bench/overlay.py [--rounds 5] [--changes]

Makes a lab of network namespaces with two hosts on one segment. In each round, one after the other:
plain veth between the hosts; wireguard-go alone, from an instance to another one's own address;
the same through a service address; and both on one node. Then the time of a change of one service's
targets (plan, rules, flows) with 1, 1,000 and 10,000 services on the node, by the host's library
and by the command `nft`, and with 50,000 flows open through service addresses. `--changes`: these
alone. Prints medians; takes everything away again.

Both ends, the tunnels and whatever else runs share this machine's processors: read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model import wire
from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.overlay import TUNNEL_PORT, OverlayNode
from oakctl.model.service import Port, ServiceAddresses
from oakctl.overlay.kernel import nft
from oakctl.overlay.kernel.cables import namespace
from oakctl.overlay.kernel.driver import KernelDriver
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.planning import Place
from oakctl.overlay.kernel.ruleset import Networks
from oakctl.overlay.plan import NodeOverlay

SUBNETS = {"a": "10.18.0.64/26", "b": "10.18.0.128/26"}
CLIENT, HERE, THERE = "10.18.0.66", "10.18.0.67", "10.18.0.130"
SERVICE_THERE, SERVICE_HERE = "10.30.9.1", "10.30.9.2"
PORT = 7000
STREAM_S = 1.0
REQUESTS, CONNECTS = 400, 300
PIECE = bytes(1 << 16)
CHANGES = 20
FLOWS, FLOWS_OF_ONE = 50_000, 10_000


def serve() -> None:
    """Bytes are counted and forgotten after "s", and sent back after anything else."""

    def one(client: socket.socket) -> None:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = client.recv(1)
            while first == b"s" and client.recv(1 << 18):
                pass
            while first and first != b"s":
                client.sendall(first)
                first = client.recv(100)

    with socket.create_server(("0.0.0.0", PORT), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


def measure(address: str) -> None:
    """Print Mbit/s, microseconds of a request at the median and the 99th of 100, connects/s."""
    with socket.create_connection((address, PORT), timeout=30) as stream:
        stream.send(b"s")
        sent, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < STREAM_S:
            sent += stream.send(PIECE)
        mbit = sent * 8 / (time.perf_counter() - begin) / 1e6
    waits = []
    with socket.create_connection((address, PORT), timeout=30) as asking:
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            asking.send(b"?")
            asking.recv(10)
            waits.append((time.perf_counter() - begin) * 1e6)
    begin = time.perf_counter()
    for _ in range(CONNECTS):
        with socket.create_connection((address, PORT), timeout=30) as one:
            one.send(b"?")
            one.recv(10)
    connects = CONNECTS / (time.perf_counter() - begin)
    waits.sort()
    print(json.dumps([mbit, statistics.median(waits), waits[len(waits) * 99 // 100], connects]))


def driver_of(host: str, state: str, way: str = "library") -> KernelDriver:
    """The driver of the host that this process is on."""
    rules = nft.InProcess() if way == "library" else nft.Command(Host())
    place = Place(host, "bench", Networks(SUBNETS[host]))
    return KernelDriver(place, state, rules=rules)


def node(host: str, state: str) -> None:
    """Make a host's overlay: prints its key, reads the nodes, and stays until its input ends."""
    driver = driver_of(host, state)
    driver.start()
    print(driver.public_key(), flush=True)
    nodes = [wire.from_plain(each, OverlayNode) for each in json.loads(sys.stdin.readline())]
    driver.connect(nodes)
    for address in (CLIENT, HERE) if host == "a" else (THERE,):
        driver.attach(address)
    tables = (table(0, SERVICE_THERE, "b", THERE), table(1, SERVICE_HERE, "a", HERE))
    driver.apply(NodeOverlay(host, None, tables=tables))
    print("ready", flush=True)
    sys.stdin.read()
    driver.remove()


def change(state: str, services: int, way: str, open_flows: int = 0) -> None:
    """Print the milliseconds of each of some changes of one service among `services`.

    Those of the processor after those of the clock.
    """
    driver = driver_of("a", state, way)
    driver.start()
    tables = [
        replace(
            table(i, f"10.30.{128 + i // 250}.{1 + i % 250}", "b", THERE),
            targets=tuple(target(n, "b", f"10.18.3.{n + 1}") for n in range(10)),
        )
        for i in range(services)
    ]
    if open_flows:
        driver.attach(HERE)
        tables.append(table(services, SERVICE_HERE, "a", HERE))
    driver.apply(NodeOverlay("a", None, tables=tuple(tables)))
    send(SERVICE_HERE, open_flows)
    took, busy = [], []
    for i in range(CHANGES):
        tables[0] = replace(
            tables[0], targets=tuple(target(n, "b", f"10.18.3.{n + 1}") for n in range(9 + i % 2))
        )
        begin, used = time.perf_counter(), time.process_time()
        driver.apply(NodeOverlay("a", None, tables=tuple(tables)))
        took.append((time.perf_counter() - begin) * 1e3)
        busy.append((time.process_time() - used) * 1e3)
    driver.remove()
    print(json.dumps([took, busy]))


def send(address: str, count: int) -> None:
    """Open so many flows of UDP."""
    for _ in range(-(-count // FLOWS_OF_ONE)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for port in range(1, FLOWS_OF_ONE + 1):
                with contextlib.suppress(OSError):
                    one.sendto(b"?", (address, port))


def table(number: int, address: str, worker: str, instance: str) -> ServiceTable:
    """The table of one service with one instance."""
    addresses = ServiceAddresses(address)
    targets = (target(0, worker, instance),)
    return ServiceTable(f"s{number}.b.s.b", "bench", 1, addresses, (Port(PORT),), targets, 1)


def target(number: int, worker: str, address: str) -> TableTarget:
    """One instance."""
    return TableTarget(number, address, worker, "bench", "")


def bench(rounds: int) -> None:
    """All of it."""
    with (
        NamespaceLab(LabPlan((MachineHost("a"), MachineHost("b")))) as lab,
        tempfile.TemporaryDirectory() as folder,
    ):
        nodes = {host: spawn(lab, host, "node", host, f"{folder}/{host}") for host in SUBNETS}
        keys = {host: said(process) for host, process in nodes.items()}
        known = [
            OverlayNode(host, "bench", SUBNETS[host], keys[host], endpoint)
            for host in SUBNETS
            for endpoint in (f"{lab.address(host)}:{TUNNEL_PORT}",)
        ]
        for process in nodes.values():
            assert process.stdin is not None
            process.stdin.write(
                json.dumps([wire.to_plain(each) for each in known]).encode() + b"\n"
            )
            process.stdin.flush()
            assert said(process) == "ready"
        for host, address in (("b", ""), ("a", HERE), ("b", THERE)):
            assert said(spawn(lab, host, "serve", address=address)) == "ready"
        ways = {
            "veth, host to host": ("", lab.address("b")),
            "wireguard-go": (CLIENT, THERE),
            "wireguard-go, service address": (CLIENT, SERVICE_THERE),
            "one node": (CLIENT, HERE),
            "one node, service address": (CLIENT, SERVICE_HERE),
        }
        print(f"{rounds} rounds, interleaved; medians. {os.cpu_count()} processors, Linux ", end="")
        print(os.uname().release, flush=True)
        found: dict[str, list[list[float]]] = {name: [] for name in ways}
        for number in range(rounds):
            # The order is turned round each time: whoever is second finds the machine warmer.
            for name, (client, address) in list(ways.items())[:: 1 - 2 * (number % 2)]:
                argv = command(client, "measure", address)
                found[name].append(json.loads(lab.run("a", argv, timeout_s=120)))
        print(f"{'':32}{'Mbit/s':>10}{'p50 us':>10}{'p99 us':>10}{'connects/s':>12}")
        medians = {}
        for name, figures in found.items():
            medians[name] = [statistics.median(column) for column in zip(*figures, strict=True)]
            mbit, p50, p99, connects = medians[name]
            print(f"{name:32}{mbit:10.0f}{p50:10.0f}{p99:10.0f}{connects:12.0f}")
        for plain in ("wireguard-go", "one node"):
            tell_ratios(plain, found[f"{plain}, service address"], found[plain])
        for process in nodes.values():
            process.communicate()
        changes(lab, folder)


def tell_ratios(plain: str, through: list[list[float]], without: list[list[float]]) -> None:
    """Of the two that were measured in one round: the median over the rounds, and the quartiles."""
    for what, column in (("throughput", 0), ("request's median", 1), ("connects/s", 3)):
        ratios = [a[column] / b[column] for a, b in zip(through, without, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"through a service address, {what}: {median:.1%} of {plain} "
              f"({low:.1%} to {high:.1%})", flush=True)  # fmt: skip


def changes(lab: NamespaceLab, folder: str) -> None:
    """What a change of one service costs."""
    cases = [(services, way, 0) for way in ("library", "command") for services in (1, 1000, 10000)]
    for services, way, flows in (*cases, (1, "library", FLOWS)):
        argv = command("", "change", f"{folder}/a", str(services), way, str(flows))
        took, busy = json.loads(lab.run("a", argv, timeout_s=600))
        print(f"change of one of {services:6} services, {way}, {flows:5} flows: "
              f"{statistics.median(took):8.1f} ms, at most {max(took):.1f}; "
              f"{statistics.median(busy):.1f} ms of the processor", flush=True)  # fmt: skip


def command(address: str, *words: str) -> tuple[str, ...]:
    """This file's own command line, in an instance or on the host."""
    enter = ("ip", "netns", "exec", namespace(address)) if address else ()
    root = str(Path(__file__).resolve().parents[1])
    return (*enter, "env", f"PYTHONPATH={root}", sys.executable, __file__, *words)


def spawn(lab: NamespaceLab, host: str, *words: str, address: str = "") -> subprocess.Popen[bytes]:
    """One that goes on."""
    return lab.spawn(host, command(address, *words))


def said(process: subprocess.Popen[bytes]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def main() -> None:
    """See above; the words besides `--rounds` are for its own processes."""
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        serve()
    elif words[:1] == ["measure"]:
        measure(words[1])
    elif words[:1] == ["node"]:
        node(words[1], words[2])
    elif words[:1] == ["change"]:
        change(words[1], int(words[2]), words[3], int(words[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--changes", action="store_true")
        chosen = parser.parse_args()
        if not chosen.changes:
            bench(chosen.rounds)
            return
        lab = NamespaceLab(LabPlan((MachineHost("a"),)))
        with lab, tempfile.TemporaryDirectory() as folder:
            changes(lab, folder)


if __name__ == "__main__":
    main()
