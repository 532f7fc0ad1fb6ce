"""Two clusters whose root is away: calls go on to the other one, which is heard of directly.

Belongs here: the whole chain, from processes that end to what answers at a service's address. Does
not belong here: what goes over a link, and how it begins (`tests/cluster/test_peers.py`).
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from oakctl.client import artifact
from oakctl.client.process import hosted_root, running_root
from oakctl.client.root import RootClient
from oakctl.lab.loopback import Lab, LabHost
from oakctl.model.requests import ApplyRequest, ClusterCreate, WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.views import ClusterLink, InstanceView
from oakctl.overlay.plan import local_address
from oakctl.paths import cache_directory
from tests.chain.fleet import commands, lab, no_root_left, processes_with, until
from tests.waiting import WAIT_S

HOSTS = (LabHost("edge", 1, 512), LabHost("cloud", 1, 512), LabHost("far", 1, 512))
ONE = Resources(memory_mb=100)  # room for one Pre
PORT = 7000
PROGRAM = """
import os, socketserver, sys
name, bind = os.environ["OAKCTL_INSTANCE"], os.environ["OAKCTL_BIND"]
if os.path.exists(os.path.join(os.environ["GONE"], name)):
    sys.exit(1)
class Say(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(f"{name} {bind}".encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
Server((bind, 7000), Say).serve_forever()
"""
DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: calls
    application_namespace: chain
    microservices:
      - microservice_name: Pre
        microservice_namespace: chain
        virtualization: process
        code: ./app
        memory: 64
        environment: ["GONE={gone}"]
        addresses: {{rr_ip: 10.30.7.7}}
        oakctl: {{vcpus: 0.1, replicas: 2, listen: [7000/tcp], ready: {{tcp: 7000}}}}
"""


def pack(folder: Path) -> Path:
    """The program that says who answers."""
    app = folder / "app"
    app.mkdir()
    (app / "main.py").write_text(PROGRAM)
    command = '["{python}", "{artifact}/main.py"]'
    (app / "oakctl-artifact.toml").write_text(f'name = "says"\ncommand = {command}\n')
    return artifact.pack(app, cache_directory()).path


def called(number: int) -> str:
    """Who answers at the address of Pre on the host with that number; empty: nobody."""
    try:
        with socket.create_connection((local_address(number, "10.30.7.7"), PORT), 2) as made:
            made.settimeout(2)
            return made.recv(200).decode()
    except OSError:
        return ""


def processes_of(the_lab: Lab, host: str, word: str) -> list[int]:
    """Those on a host of the lab whose command has `word` in it."""
    found = commands(processes_with(OAKCTL_LAB=the_lab.id))
    home = f"/homes/{host}/"
    return [p for p, args in found.items() if home in " ".join(args) and word in " ".join(args)]


async def populated(root: RootClient, the_lab: Lab, folder: Path) -> dict[str, InstanceView]:
    """Pre runs in both clusters, which are linked; cluster → its instance."""
    for host in the_lab.hosts:
        await root.put_host(host)
    for cluster in ("edge", "cloud"):
        done = await root.create_cluster(ClusterCreate(cluster, cluster))
        await root.wait_operation(done.id, WAIT_S)
    await add(root, "edge", "w1", "edge")
    await add(root, "cloud", "far", "far")
    (folder / "gone").mkdir()
    sha256 = await root.upload_artifact(pack(folder))
    text = DESCRIPTOR.format(gone=folder / "gone")
    await root.apply(ApplyRequest(text, {"./app": sha256}))

    async def links() -> list[ClusterLink]:
        return [link for view in await root.clusters() for link in view.links]

    await until("both to be linked", links, lambda f: [one.linked for one in f] == [True, True])
    found = await until(
        "Pre in both", root.instances, lambda views: sum(v.ready for v in views) == 2
    )
    # Room for the one in cloud to go to, when its node is lost.
    await add(root, "cloud", "near", "cloud")
    return {view.cluster: view for view in found}


async def add(root: RootClient, cluster: str, name: str, host: str) -> None:
    """Make a host a worker that has room for one instance."""
    done = await root.add_worker(WorkerAdd(name, cluster, host, contribution=ONE))
    await root.wait_operation(done.id, WAIT_S)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_calls_go_to_the_other_cluster_with_the_root_away(tmp_path: Path) -> None:
    async with lab(HOSTS) as the_lab:
        async with no_root_left(), hosted_root(), RootClient() as root:
            there = await populated(root, the_lab, tmp_path)
        assert await running_root() is None
        assert there["cloud"].worker == "far"
        numbers = {host.name: int(host.address.split(".")[1]) for host in the_lab.hosts}
        names = {cluster: view.name for cluster, view in there.items()}

        def who(host: str) -> set[str]:
            return {called(numbers[host]).split(" ")[0] for _ in range(6)}

        for host in ("edge", "far"):
            both = set(names.values())
            await until(f"both to answer on {host}", lambda host=host: who(host), both.__eq__)

        # The one in edge ends, and does not come back: on edge the one in cloud is called.
        (tmp_path / "gone" / names["edge"]).touch()
        (pid,) = (
            p
            for p in processes_with(OAKCTL_INSTANCE=names["edge"])
            if "main.py" in " ".join(commands([p]).get(p, []))
        )
        os.kill(pid, signal.SIGKILL)
        await until("cloud alone to answer", lambda: who("edge"), {names["cloud"]}.__eq__)
        before = called(numbers["edge"])

        # Cloud's bus restarts while its node is lost: the next place is learned in edge.
        for bus in processes_of(the_lab, "cloud", "nats-server"):
            os.kill(bus, signal.SIGKILL)
        await the_lab.power_cut("far")
        after = await until(
            "the new one of cloud to answer on edge",
            lambda: called(numbers["edge"]),
            lambda text: text not in ("", before),
        )
        assert after.split(" ")[0] == names["cloud"]
        assert f"127.{numbers['cloud'] + 1}." in after
        assert await running_root() is None
