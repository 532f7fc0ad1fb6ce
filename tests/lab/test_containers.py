"""Containers and processes of one application on a real host with systemd and Docker."""

from __future__ import annotations

import io
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Suite
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS
from tests.worker.docker_engine import busybox, installed

pytestmark = [*MARKS]

PLAN = LabPlan(hosts=(MachineHost("engine", suite=Suite.BOOKWORM, docker=True),))
DEADLINE_S = 120
FRONT = "web.default.front.default.instance.0"
DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: web
    application_namespace: default
    microservices:
      - microservice_name: front
        microservice_namespace: default
        virtualization: container
        code: local/web:1
        cmd: ["/bin/sh", "-c", "echo serving; exec busybox httpd -f -p 80 -h /www"]
        memory: 32
        port: "8080:80"
        added_files: ["./site:/www"]
        oakctl: {pull: never, ready: {http: {port: 80, path: /index.html}}}
      - microservice_name: plain
        microservice_namespace: default
        virtualization: process
        code: ./plain
        memory: 32
"""
PLAIN = "id -u; cat /opt/oakctl/etc/worker/secret; ls /opt/oakctl; echo end; exec sleep 1000000\n"


@pytest.fixture(scope="module")
def host(lab_directories: Path) -> Iterator[Host]:
    """With Docker, and one image that came from no registry."""
    missing = installed()  # of what the image is made of
    if missing:
        pytest.skip(missing)
    fleet = FleetHosts(PLAN, "tests-engine")
    try:
        fleet.up()
        made = fleet.bare("engine")["engine"]
        (made.disk / "home/oak/web.tar").write_bytes(image())
        made.run("docker import /home/oak/web.tar local/web:1", root=True)
        yield made
    finally:
        fleet.down()


def image() -> bytes:
    """busybox, as a whole file system."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(busybox(), "bin/busybox")
        shell = tarfile.TarInfo("bin/sh")
        shell.type, shell.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(shell)
    return buffer.getvalue()


@pytest.fixture
def descriptor(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("added")
    (tmp_path / "plain").mkdir()
    command = 'command = ["/bin/sh", "{artifact}/run.sh"]\n'
    (tmp_path / "plain/oakctl-artifact.toml").write_text(command)
    (tmp_path / "plain/run.sh").write_text(PLAIN)
    (tmp_path / "app.yaml").write_text(DESCRIPTOR)
    return tmp_path / "app.yaml"


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.5)


def test_an_application_on_a_host_with_docker(
    host: Host, operator: Operator, descriptor: Path
) -> None:
    stranger = host.run(
        "docker run -d local/web:1 /bin/busybox sleep 100000", root=True
    ).stdout.strip()
    operator.knows(host)
    operator.run("cluster", "create", "edge", "--on", "engine", "--accept-new")
    operator.run("worker", "add", "w1", "--cluster", "edge", "--on", "engine")
    shown = operator.run("worker", "show", "w1").stdout
    assert "process, container" in shown
    operator.run("app", "apply", "-f", str(descriptor), "--timeout", f"{DEADLINE_S}s")

    url = f"http://{host.view.address}:8080/index.html"
    assert urllib.request.urlopen(url, timeout=10).read() == b"added"
    said = operator.run("instance", "logs", "web.default.plain.default.instance.0").stdout
    assert int(said.splitlines()[0]) >= 0x7000_0000
    assert said.count("Permission denied") == 2
    assert operator.run("instance", "logs", FRONT).stdout == "serving\n"

    ids = "docker ps -q --no-trunc --filter label=oakctl.instance"
    before = host.run(ids, root=True).stdout
    host.run("systemctl restart oakctl-agent", root=True)
    until(lambda: "running" in operator.run("instance", "ls").stdout, "the agent to be back")
    assert host.run(ids, root=True).stdout == before

    host.run("systemctl restart docker", root=True)
    until(lambda: host.run(ids, root=True).stdout not in ("", before), "another container")

    operator.run("app", "delete", "web.default", "--yes")
    operator.run("worker", "remove", "w1", "--yes")
    left = host.run("docker ps -a -q --no-trunc", root=True).stdout.split()
    assert left == [stranger]
