"""Commands, files and connections into an instance on a worker behind a NAT."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.lab.fleet_hosts import FleetHosts
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS

pytestmark = [*MARKS]

INSTANCE = "Echo.instance.0"
DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: echo
    application_namespace: lab
    microservices:
      - microservice_name: Echo
        microservice_namespace: lab
        virtualization: process
        code: ./app
        memory: 32
        oakctl: {listen: [7000/tcp], ready: {tcp: 7000}}
"""
PROGRAM = """
import os, socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read().upper())
socketserver.ThreadingTCPServer((os.environ["OAKCTL_BIND"], 7000), Echo).serve_forever()
"""


def test_a_worker_behind_a_nat_is_reached(
    hosts: FleetHosts, operator: Operator, tmp_path: Path
) -> None:
    made = hosts.bare("orch", "w-nat")
    for host in made.values():
        operator.knows(host)
    operator.run("cluster", "create", "edge", "--on", "orch", "--accept-new")
    operator.run("worker", "add", "w1", "--cluster", "edge", "--on", "w-nat", "--accept-new")
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text(PROGRAM)
    (app / "oakctl-artifact.toml").write_text('command = ["{python}", "{artifact}/main.py"]\n')
    (tmp_path / "app.yaml").write_text(DESCRIPTOR)
    operator.run("app", "apply", "-f", str(tmp_path / "app.yaml"))

    script = "hostname; id -u; id -G; exit 6"
    done = operator.run("instance", "exec", INSTANCE, "--", "sh", "-c", script, check=False)
    name, user, groups = done.stdout.split()
    assert (done.returncode, name) == (6, "w-nat")
    assert int(user) >= 0x7000_0000
    assert groups == user  # and no other

    content = os.urandom(1 << 20)
    (tmp_path / "there").write_bytes(content)
    operator.run("instance", "cp", str(tmp_path / "there"), f"{INSTANCE}:/kept")
    owner = operator.run("instance", "exec", INSTANCE, "--", "stat", "-c", "%u", "kept").stdout
    assert owner.strip() == user
    operator.run("instance", "cp", f"{INSTANCE}:kept", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content

    forwarding = operator.start("service", "port-forward", "Echo", "0:7000")
    try:
        assert forwarding.stdout is not None
        port = int(forwarding.stdout.readline().partition("127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
            connection.sendall(b"by way of the bus")
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read() == b"BY WAY OF THE BUS"
    finally:
        forwarding.kill()
        forwarding.wait()
