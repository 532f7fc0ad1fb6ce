"""Containers on real hosts with systemd and Docker: three workers of one cluster, no registry."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Suite
from tests.image_files import Built, docker_archive, filler, layer
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS
from tests.waiting import until_now
from tests.worker.docker_engine import busybox, installed

pytestmark = [*MARKS]

ROOT = Path(__file__).parents[2]
WORKERS = ("w1", "w2", "w3")
PLAN = LabPlan(
    hosts=tuple(MachineHost(name, suite=Suite.BOOKWORM, docker=True) for name in WORKERS)
)
DEADLINE_S = 180
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
        cmd: ["/bin/busybox", "sh", "-c", "echo serving; exec busybox httpd -f -p 80 -h /www"]
        memory: 32
        port: "8080:80"
        added_files: ["./site:/www"]
        constraints: [{type: direct, node: w1}]
        oakctl: {ready: {http: {port: 80, path: /index.html}}}
      - microservice_name: plain
        microservice_namespace: default
        virtualization: process
        code: ./plain
        memory: 32
        constraints: [{type: direct, node: w1}]
"""
PLAIN = "id -u; cat /opt/oakctl/etc/worker/secret; ls /opt/oakctl; echo end; exec sleep 1000000\n"


@dataclass
class Site:
    """A cluster of three workers, and who runs it."""

    hosts: dict[str, Host]
    operator: Operator

    def push(self, archive: Path) -> dict[str, Any]:
        """Push an image to the cluster; returns what was sent."""
        told = self.operator.run("image", "push", str(archive), "--cluster", "edge", "-o", "json")
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    def apply(self, file: Path) -> None:
        """And wait until all of it runs."""
        self.operator.run("app", "apply", "-f", str(file), "--timeout", f"{DEADLINE_S}s")

    def inside(self, worker: str, instance: str, url: str) -> str:
        """What an instance's container answers to its host at its own address."""
        label = f"label=oakctl.instance={instance}"
        address = "{{.NetworkSettings.IPAddress}}"
        return (
            self.hosts[worker]
            .run(
                f"at=$(docker inspect -f '{address}' $(docker ps -q --filter {label})) && "
                f"python3 -c 'import sys, urllib.request as u; "
                f'print(u.urlopen(sys.argv[1], timeout=10).read().decode())\' "http://$at{url}"',
                root=True,
            )
            .stdout
        )


@pytest.fixture(scope="module")
def site(lab_directories: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Made once: each test brings its own application and takes it away."""
    missing = installed()  # of what images are made of
    if missing:
        pytest.skip(missing)
    fleet = FleetHosts(PLAN, "tests-engines")
    operator = Operator(tmp_path_factory.mktemp("operator"), tmp_path_factory.mktemp("cache"))
    try:
        fleet.up()
        hosts = fleet.bare()
        operator.start("serve", "--keep")  # many commands follow: one root for all of them
        until(lambda: operator.run("host", "ls", check=False).returncode == 0, "the root")
        for host in hosts.values():
            operator.knows(host)
        operator.run("cluster", "create", "edge", "--on", "w1", "--accept-new")
        for name in WORKERS:
            operator.run("worker", "add", name, "--cluster", "edge", "--on", name, "--accept-new")
        yield Site(hosts, operator)
    finally:
        operator.kill()
        fleet.down()


def image(version: str, size: int = 200_000) -> Built:
    """busybox, some bytes, and a version on top."""
    program = layer({"bin/busybox": busybox().read_bytes()})
    top = layer({"version": f"{version}\n".encode()})
    return Built((program, filler(7, size), top))


def written(path: Path, built: Built, name: str) -> Path:
    path.write_bytes(docker_archive(built, name))
    return path


def until(condition: Callable[[], bool], what: str) -> None:
    until_now(what, condition, wait_s=DEADLINE_S, step_s=0.5)  # most looks are commands


def agent_log(host: Host) -> str:
    return (host.disk / "opt/oakctl/log/agent.log").read_text()


def on_all_three(version: str) -> str:
    """A service on each worker that says which version it has."""
    said = "/bin/busybox cat /version; exec /bin/busybox sleep 1000000"
    services = [
        {
            "microservice_name": f"on{worker}",
            "microservice_namespace": "default",
            "virtualization": "container",
            "code": f"local/three:{version}",
            "cmd": ["/bin/busybox", "sh", "-c", said],
            "memory": 16,
            "constraints": [{"type": "direct", "node": worker}],
        }
        for worker in WORKERS
    ]
    app = {
        "application_name": f"three{version}",
        "application_namespace": "default",
        "microservices": services,
    }
    return yaml.safe_dump({"sla_version": "v2.0", "customerID": "Admin", "applications": [app]})


def test_an_image_that_no_registry_has_on_three_workers(site: Site, tmp_path: Path) -> None:
    sent = {}
    for version in ("1", "2"):
        name = f"local/three:{version}"
        sent[version] = site.push(written(tmp_path / "image.tar", image(version), name))
        (tmp_path / "app.yaml").write_text(on_all_three(version))
        site.apply(tmp_path / "app.yaml")
        for worker in WORKERS:
            instance = f"three{version}.default.on{worker}.default.instance.0"
            assert site.operator.run("instance", "logs", instance).stdout == f"{version}\n"
    assert (sent["1"]["sent_layers"], sent["2"]["sent_layers"]) == (3, 1)
    config = len(image("2").config)
    assert sent["2"]["sent_bytes"] < config + 1000
    assert sent["2"]["clusters"]["edge"] == sent["2"]["sent_bytes"]
    for worker in WORKERS:
        said = agent_log(site.hosts[worker])
        fetched = re.findall(r"(\d) of 3 layers, (\d+) bytes, are fetched", said)
        assert [layers for layers, _ in fetched] == ["3", "1"], worker
        assert int(fetched[1][1]) == sent["2"]["sent_bytes"]
    for version in ("1", "2"):
        site.operator.run("app", "delete", f"three{version}.default", "--yes")


@pytest.fixture(scope="module")
def ar_image(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AR application's, of this machine's Debian packages."""
    out = tmp_path_factory.mktemp("ar") / "ar.tar"
    made = subprocess.run(
        [sys.executable, "-B", str(ROOT / "scripts/ar-image"), str(out)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return out


def test_the_ar_application_in_containers(site: Site, ar_image: Path, tmp_path: Path) -> None:
    assert site.push(ar_image)["sent_layers"] == 2
    descriptor = yaml.safe_load((ROOT / "examples/ar/ar-container.yaml").read_text())
    (app,) = descriptor["applications"]
    for service in app["microservices"]:
        service["constraints"] = [{"type": "direct", "node": "w2"}]
        # These hosts have no overlay: see the file.
        next_ = f"AR_NEXT={site.hosts['w2'].view.address}"
        service["environment"] = [*service["environment"], next_]
    (tmp_path / "ar.yaml").write_text(yaml.safe_dump(descriptor))
    site.apply(tmp_path / "ar.yaml")

    def metrics() -> dict[str, float]:
        text = site.inside("w2", "ar.boxed.Client.boxed.instance.0", ":9100/metrics")
        found = re.findall(r"^(\w+) ([0-9.e+-]+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    until(lambda: metrics().get("ar_frames_total", 0) > 20, "frames that come back")
    until(lambda: metrics().get("ar_labels_right_ratio", 0) > 0.9, "labels that are right")
    site.operator.run("app", "delete", "ar.boxed", "--yes")


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


def test_an_application_on_a_host_with_docker(site: Site, descriptor: Path, tmp_path: Path) -> None:
    host, operator = site.hosts["w1"], site.operator
    web = written(tmp_path / "web.tar", image("web"), "local/web:1")
    (host.disk / "home/oak/web.tar").write_bytes(web.read_bytes())
    stranger = host.run(
        "docker load -q -i /home/oak/web.tar >/dev/null && "
        "docker run -d local/web:1 /bin/busybox sleep 100000",
        root=True,
    ).stdout.strip()
    shown = operator.run("worker", "show", "w1").stdout
    assert "process, container" in shown
    site.push(web)
    site.apply(descriptor)

    url = f"http://{host.view.address}:8080/index.html"
    assert urllib.request.urlopen(url, timeout=10).read() == b"added"
    said = operator.run("instance", "logs", "web.default.plain.default.instance.0").stdout
    assert int(said.splitlines()[0]) >= 0x7000_0000
    assert said.count("Permission denied") == 2
    assert operator.run("instance", "logs", FRONT).stdout == "serving\n"

    ids = f"docker ps -q --no-trunc --filter label=oakctl.instance={FRONT}"
    before = host.run(ids, root=True).stdout
    host.run("systemctl kill --kill-who=main -s KILL oakctl-agent", root=True)
    until(lambda: f"{FRONT}: found again" in agent_log(host), "another agent")
    until(lambda: "running" in operator.run("instance", "ls").stdout, "its report")
    assert host.run(ids, root=True).stdout == before

    host.run("systemctl restart docker", root=True)
    until(lambda: host.run(ids, root=True).stdout not in ("", before), "another container")

    operator.run("app", "delete", "web.default", "--yes")
    operator.run("worker", "remove", "w1", "--yes")
    left = host.run("docker ps -a -q --no-trunc", root=True).stdout.split()
    assert left == [stranger]
