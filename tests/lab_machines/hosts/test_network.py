"""Who reaches whom in a lab: its routers and firewalls do as their kind does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from oakctl.cli import ssh
from oakctl.lab.machines import lab as machines
from tests.lab.requirements import MARKS
from tests.lab_machines.hosts.stage import remote

pytestmark = [*MARKS]


def test_public_hosts_are_reached_by_all_and_others_by_nobody(lab: machines.Lab) -> None:
    public = lab.host("m1").address
    for name in ("m2", "cone", "home", "phone", "office"):
        remote(lab, name, f"ping -c1 -W5 {public}")
    for there in ("home", "cone"):
        hidden = lab.host(there).address
        for name in ("m1", "phone"):
            assert remote(lab, name, f"ping -c1 -W1 {hidden}", check=False).returncode != 0


def test_no_host_has_a_way_out(lab: machines.Lab) -> None:
    routes = json.loads(subprocess.check_output(["ip", "-j", "-4", "addr"]))
    own = [
        address["local"]
        for link in routes
        if link["ifname"] != "lo" and not link["ifname"].startswith("oakl")
        for address in link["addr_info"]
    ]
    for name in ("m1", "home"):
        for address in own:
            assert remote(lab, name, f"ping -c1 -W1 {address}", check=False).returncode != 0


# Answers each datagram with the address it came from: from the same port, from another one, or
# by the other server.
SERVER = """
import json, socket, sys
peer = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 7000))
o = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); o.bind(("0.0.0.0", 7001))
print("ready", flush=True)
while True:
    body, source = s.recvfrom(2048)
    how, *to = json.loads(body)
    answer = json.dumps([how, *source]).encode()
    if how == "same port": s.sendto(answer, source)
    elif how == "other port": o.sendto(answer, source)
    elif how == "other host": s.sendto(json.dumps(["told", *source]).encode(), (peer, 7000))
    elif how == "told": s.sendto(json.dumps(["other host", *to]).encode(), tuple(to))
"""
# What a host sees through its router: the ports it has for two servers, and which of the
# answers arrive that come from where it sent nothing.
PROBE = """
import json, socket, sys
one, two = sys.argv[1:]
def ask(s, how, server, wait):
    s.settimeout(wait)
    for _ in range(3):
        s.sendto(json.dumps([how]).encode(), (server, 7000))
        try:
            while True:
                got = json.loads(s.recv(2048))
                if got[0] == how: return got[1:]
        except TimeoutError: pass
        except socket.timeout: pass
    return None
def fresh():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0)); return s
s = fresh()
seen = [ask(s, "same port", server, 2) for server in (one, two)]
s = fresh()
arrives = {how: ask(s, how, one, 1) is not None for how in ("other port", "other host")}
print(json.dumps({"seen": seen, "arrives": arrives}))
"""


@pytest.fixture
def servers(lab: machines.Lab) -> Iterator[tuple[str, str]]:
    one, two = (lab.host(name).address for name in ("m1", "m2"))
    running = []
    try:
        for name, peer in (("m1", two), ("m2", one)):
            argv = ssh.arguments(lab.host(name), ["python3", "-c", SERVER, peer])
            argv[1:1] = ["-F", "none", "-tt", "-o", "BatchMode=yes"]
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            running.append(process)
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
        yield one, two
    finally:
        for process in running:
            process.terminate()
            process.communicate()


@pytest.mark.parametrize(
    ("host", "one_port", "arrives"),
    [
        ("cone", True, {"other port": True, "other host": True}),
        ("home", True, {"other port": False, "other host": False}),
        ("phone", False, {"other port": False, "other host": False}),
    ],
)
def test_routers_translate_as_their_kind_does(
    lab: machines.Lab,
    servers: tuple[str, str],
    host: str,
    one_port: bool,
    arrives: dict[str, bool],
) -> None:
    done = remote(lab, host, f'python3 - {" ".join(servers)} <<"END"\n{PROBE}\nEND')
    found = json.loads(done.stdout)

    (address, port), (other_address, other_port) = found["seen"]
    assert address == other_address != lab.host(host).address
    assert (port == other_port) == one_port
    assert found["arrives"] == arrives


def test_a_firewall_drops_udp_and_nothing_else(lab: machines.Lab, servers: tuple[str, str]) -> None:
    done = remote(lab, "office", f'python3 - {" ".join(servers)} <<"END"\n{PROBE}\nEND')
    found = json.loads(done.stdout)

    assert found["seen"] == [None, None]
    tcp = f"import socket; socket.create_connection(('{servers[0]}', 22), 10).close()"
    remote(lab, "office", f'python3 -c "{tcp}"')
