"""An application whose instances call each other, and calls from wherever they can come from.

Belongs here: the descriptor, and one way to call for each kind of caller. Does not belong here:
what the answers have to be (the tests).
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.fleet_hosts import Host
from tests.lab.operator_tool import Operator

# What the overlay takes of Debian 12: the kernel of a test machine may have no WireGuard.
PACKAGES = ("wireguard-tools", "wireguard-go", "nftables", "libnftables1")
SERVICE = "10.30.40.1"
CALLS = 60
WEB = "net.default.web.default.instance"
CALLER = "net.default.caller.default.instance.0"
# busybox has no name server to ask here, and needs none.
SERVE = (
    "/bin/busybox mkdir -p /www; echo $OAKCTL_INSTANCE >/www/index.html; "
    "exec /bin/busybox httpd -f -p 80 -h /www"
)
# Each asks for more than the caller does, so that they are on different workers: the emptiest.
DESCRIPTOR = f"""
sla_version: v2.0
customerID: Admin
applications:
  - application_name: net
    application_namespace: default
    microservices:
      - microservice_name: web
        microservice_namespace: default
        virtualization: container
        code: local/net:1
        cmd: ["/bin/busybox", "sh", "-c", "{SERVE}"]
        memory: 64
        port: "8081:80"
        addresses: {{rr_ip: {SERVICE}}}
        connectivity: [{{target_microservice_id: web}}]
        oakctl: {{replicas: 3, ready: {{http: {{port: 80, path: /index.html}}}}}}
      - microservice_name: caller
        microservice_namespace: default
        virtualization: process
        code: ./caller
        memory: 32
        connectivity: [{{target_microservice_id: web}}]
        constraints: [{{type: direct, node: w3}}]
"""
PYTHON = (
    "import sys, urllib.request as u\n"
    "for _ in range(int(sys.argv[2])):\n"
    "    sys.stdout.write(u.urlopen(sys.argv[1], timeout=30).read().decode())\n"
)


def written(folder: Path) -> Path:
    """The descriptor, with what it names."""
    program = folder / "caller"
    program.mkdir()
    (program / "oakctl-artifact.toml").write_text('command = ["/bin/sh", "{artifact}/run.sh"]\n')
    (program / "run.sh").write_text("exec sleep 1000000\n")
    file = folder / "net.yaml"
    file.write_text(DESCRIPTOR)
    return file


def from_host(host: Host, address: str, calls: int = CALLS) -> set[str]:
    """Who answers a program of the host itself."""
    return set(host.run(f"python3 - http://{address}/ {calls}", PYTHON).stdout.split())


def from_process(operator: Operator, address: str, calls: int = CALLS) -> set[str]:
    """Who answers the instance that is a process."""
    words = ("python3", "-c", PYTHON, f"http://{address}/", str(calls))
    return set(operator.run("instance", "exec", CALLER, "--", *words).stdout.split())


def from_container(operator: Operator, number: int, address: str, calls: int = CALLS) -> set[str]:
    """Who answers one of the containers."""
    get = f"/bin/busybox wget -q -O - http://{address}/"
    loop = f"i=0; while [ $i -lt {calls} ]; do {get}; i=$((i+1)); done"
    words = ("/bin/busybox", "sh", "-c", loop)
    return set(operator.run("instance", "exec", f"{WEB}.{number}", "--", *words).stdout.split())
