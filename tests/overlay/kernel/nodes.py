"""Nodes with the kernel overlay in a lab of namespaces, and programs in their instances."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model import wire
from oakctl.model.documents import ServiceTable, TablesDocument, TableTarget
from oakctl.model.overlay import OverlayNode
from oakctl.model.overlay_asking import Lead
from oakctl.model.service import Port, ServiceAddresses
from oakctl.overlay.kernel.cables import namespace

from .requirements import REPOSITORY

PROGRAMS = str(Path(__file__).with_name("programs.py"))
PORT = 7000
RR, CLOSEST, LEAST = "10.30.9.1", "10.30.9.2", "10.30.9.3"
# Of instances on nodes a and b, and node a's own.
A1, A2, A3, B1, B2 = "10.18.0.66", "10.18.0.67", "10.18.0.68", "10.18.0.130", "10.18.0.131"
GATEWAY_A = "10.18.0.65"


class Failed(Exception):
    """The node's own words."""


class Node:
    """A driver on a host of the lab, and what the tests start there."""

    def __init__(
        self, lab: NamespaceLab, host: str, subnet: str, state: Path, way: str, probing: bool
    ) -> None:
        self.lab = lab
        self.host = host
        self.subnet = subnet
        self._state = state
        self._way = (way, *(("probing",) if probing else ()))
        self._started: list[subprocess.Popen[bytes]] = []
        self._driver: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """A new process with a driver: what a start of the agent is."""
        command = (sys.executable, "-m", "tests.overlay.kernel.node_process")
        words = (self.host, self.subnet, str(self._state), *self._way)
        self._driver = self._spawn((*command, *words), forget=True)
        self.call("start")

    def kill(self) -> None:
        """End the driver's process, as a crash does."""
        if self._driver is not None:
            end(self._driver)
        self._driver = None

    def call(self, method: str, argument: Any = None) -> Any:
        """Call the driver; raises Failed."""
        assert self._driver is not None
        found = say(self._driver, json.dumps({"call": method, "argument": argument}))
        answer = json.loads(found)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def apply(self, *tables: ServiceTable) -> bool:
        """Give the driver these tables."""
        document = TablesDocument(self.host, 1, tables)
        return bool(self.call("apply", json.loads(wire.encode(document))))

    def look(self, *tables: ServiceTable) -> list[Lead]:
        """Where addresses of these tables lead by what is in force."""
        document = TablesDocument(self.host, 1, tables)
        found = self.call("look", json.loads(wire.encode(document)))
        return [wire.from_plain(lead, Lead) for lead in found]

    def connect(self, *nodes: OverlayNode) -> bool:
        """Give the driver these nodes."""
        return bool(self.call("connect", [wire.to_plain(node) for node in nodes]))

    def known_as(self, endpoint: str = "", relay: bool = False) -> OverlayNode:
        """This node as others see it."""
        key = self.call("public_key")
        return OverlayNode(self.host, "edge", self.subnet, key, endpoint, relay)

    def serve(self, address: str, name: str) -> subprocess.Popen[bytes]:
        """Attach an instance and run a server in it."""
        self.call("attach", address)
        return self._ready(within(address, "serve", name, str(PORT)))

    def apart(self, name: str) -> subprocess.Popen[bytes]:
        """A server with a network of its own, as a container has one."""
        words = (sys.executable, "-S", PROGRAMS, "serve", name, str(PORT))
        return self._ready(("unshare", "--net", *words))

    def hear(self, address: str, port: int = PORT) -> subprocess.Popen[bytes]:
        """A program in an attached instance that prints where each datagram is from."""
        return self._ready(within(address, "hear", str(port)))

    def ask(
        self, client: str, address: str, times: int = 1, protocol: str = "tcp", port: int = PORT
    ) -> list[str]:
        """Answers to a number of new flows from an instance; from the host where it is empty."""
        words = within(client, "ask", address, str(port), str(times), protocol)
        return list(json.loads(self.lab.run(self.host, words)))

    def talk(self, client: str, address: str, protocol: str) -> subprocess.Popen[bytes]:
        """One flow that stays; each `say(it, "")` is a question."""
        return self._spawn(within(client, "talk", address, str(PORT), protocol))

    def load(self, client: str, address: str, until: str) -> subprocess.Popen[bytes]:
        """New connections again and again, until one of a second is answered by `until` alone."""
        return self._ready(within(client, "load", address, str(PORT), until))

    def listen(self, client: str, address: str) -> subprocess.Popen[bytes]:
        """A connection that only reads, after one answer."""
        reader = self._spawn(within(client, "listen", address, str(PORT)))
        assert reader.stdout is not None
        reader.stdout.readline()
        return reader

    def run(self, *argv: str, text: str = "") -> str:
        """A program on the host."""
        return self.lab.run(self.host, argv, text)

    def close(self) -> None:
        """End all that was started here; the overlay is taken away."""
        try:
            if self._driver is None:
                self.start()
            self.call("remove")
        finally:
            self.kill()
            for process in self._started:
                end(process)

    def _ready(self, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
        server = self._spawn(argv)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        return server

    def _spawn(self, argv: tuple[str, ...], forget: bool = False) -> subprocess.Popen[bytes]:
        more = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
        process = self.lab.spawn(self.host, argv, more)
        if not forget:
            self._started.append(process)
        return process


def within(client: str, *words: str) -> tuple[str, ...]:
    """The command line of a program in an instance, or on the host."""
    enter = ("ip", "netns", "exec", namespace(client)) if client else ()
    return (*enter, sys.executable, "-S", PROGRAMS, *words)


def say(process: subprocess.Popen[bytes], line: str = "") -> str:
    """One line to a program, and its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
    return process.stdout.readline().decode().strip()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of the tests, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def target(node: str, address: str, **changes: Any) -> TableTarget:
    """An instance on a node; its number is the last part of its address."""
    return TableTarget(int(address.rpartition(".")[2]), address, node, "edge", "", **changes)


def table(*targets: TableTarget, expected: int = 0, published: int = 0) -> ServiceTable:
    """The table of the one service that the tests have."""
    addresses = ServiceAddresses(RR, CLOSEST)
    ports = (Port(PORT, published),)
    return ServiceTable("ar.ns.rec.ns", "edge", 1, addresses, ports, targets, expected)


def names(answers: list[str]) -> Counter[str]:
    """Who answered how often."""
    return Counter(answer.split()[0] for answer in answers)


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
