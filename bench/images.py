"""An image to three workers, and a newer one, beside `docker save | ssh docker load`.

    sudo python bench/images.py [--rounds 3] [--image OLD.tar --newer NEW.tar]

Makes a lab of real hosts in a state directory of its own: one with the orchestrator, three
workers, all with Docker. The image is that of examples/ar, made by scripts/ar-image; the newer one
has another top layer. In each round, on the same hosts: `docker save` on the first host is piped
through this machine into `docker load` on each of the three at once, for both images; then oakctl
pushes both and starts a container of each on every worker. Between them everything of it is
removed. Prints seconds and the bytes that each host received. Takes everything away again.

The two don't do the same: oakctl's seconds go until a container runs, Docker's until the image is
there. Docker's bytes all come from the operator; oakctl's come once from the operator, to the
cluster's host, and from there to each worker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ground

from oakctl.client import image_archive, image_push
from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.errors import NotFound
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Suite
from oakctl.model.instance import InstanceState
from oakctl.model.requests import ApplyRequest, ClusterCreate, WorkerAdd
from oakctl.model.views import HostView

LAB = "images"
BOSS = "boss"
CLUSTER = "bench"
WORKERS = ("w1", "w2", "w3")
PLAN = LabPlan(
    tuple(MachineHost(name, suite=Suite.BOOKWORM, docker=True) for name in (BOSS, *WORKERS))
)
OPERATION_S = 300.0
RUN_S = 600.0
STEP_S = 0.1
ROOT = Path(__file__).parent.parent
REMOVE = "docker image ls -q | sort -u | xargs -r docker image rm -f"


@dataclass
class Figures:
    """One way for one image: of each round."""

    seconds: list[float] = field(default_factory=list)
    once: list[int] = field(default_factory=list)  # bytes to the cluster's host
    each: list[int] = field(default_factory=list)  # bytes to each worker


def images(folder: Path) -> tuple[Path, Path]:
    """The AR application's image, and one with another version of the application."""
    script, packages = ROOT / "scripts/ar-image", folder / "debian"
    app = folder / "app"
    shutil.copytree(ROOT / "examples/ar/app", app)
    with (app / "main.py").open("a") as file:
        file.write("# another version\n")
    made = []
    for version, source in (("1", ROOT / "examples/ar/app"), ("2", app)):
        out = folder / f"ar{version}.tar"
        words = ("--debian", packages, "--app", source, "--name", f"local/ar:{version}", out)
        subprocess.run([sys.executable, script, *words], check=True, stdout=subprocess.DEVNULL)
        made.append(out)
    return made[0], made[1]


def name_of(archive: Path) -> str:
    """What the image in it is called."""
    with image_archive.Archive(archive) as opened:
        return image_archive.choose(opened.contents(), "").name


async def measured(
    work: Callable[[], asyncio.Future[None]], hosts: Sequence[HostView], figures: Figures
) -> None:
    """Seconds of `work` and the bytes that each host received meanwhile."""
    before = [await ground.received_bytes(LAB, host.name) for host in hosts]
    began = time.monotonic()
    await work()
    figures.seconds.append(time.monotonic() - began)
    after = [await ground.received_bytes(LAB, host.name) for host in hosts]
    boss, *each = (b - a for a, b in zip(before, after, strict=True))
    figures.once.append(boss)
    figures.each += each


class Docker:
    """`docker save` on the first host, `docker load` on each of the others."""

    def __init__(self, hosts: Sequence[HostView]) -> None:
        self._boss, *self._workers = hosts

    async def bring(self, name: str) -> None:
        """One image to all workers."""
        loads = (
            ground.pipe(self._boss, f"docker save {name}", host, "docker load")
            for host in self._workers
        )
        await asyncio.gather(*loads)

    async def clean(self) -> None:
        """The workers have no image any more."""
        await asyncio.gather(*(ground.run(host, REMOVE) for host in self._workers))


class Oakctl:
    """`oakctl image push`, and a service on each worker."""

    def __init__(self, root: RootClient) -> None:
        self._root = root

    async def begin(self, hosts: Sequence[HostView]) -> None:
        """One cluster, three workers."""
        boss, *workers = hosts
        created = await self._root.create_cluster(ClusterCreate(CLUSTER, boss.name))
        await self._root.wait_operation(created.id, OPERATION_S)
        adding = [
            await self._root.add_worker(WorkerAdd(host.name, CLUSTER, host.name))
            for host in workers
        ]
        await asyncio.gather(*(self._root.wait_operation(one.id, OPERATION_S) for one in adding))

    async def bring(self, archive: Path) -> None:
        """Pushed, and running on all workers."""
        with image_archive.Archive(archive) as opened:
            chosen = image_archive.choose(opened.contents(), "")
            await image_push.push(self._root, opened, chosen, lambda _: None)
        await self._root.apply(ApplyRequest(descriptor(chosen.name)))
        deadline = time.monotonic() + RUN_S
        while True:
            found = [one for one in await self._root.instances() if _app(chosen.name) in one.name]
            if [one.state for one in found] == [InstanceState.RUNNING] * len(WORKERS):
                return
            if time.monotonic() > deadline:
                states = ", ".join(f"{one.name} {one.state.value} {one.reason}" for one in found)
                raise ground.Failed(f"oakctl: not all of them run: {states}")
            await asyncio.sleep(STEP_S)

    async def end(self, hosts: Sequence[HostView], names: Sequence[str]) -> None:
        """Neither root nor cluster nor workers have it any more."""
        for name in names:
            await self._root.delete_application(f"{_app(name)}.bench")
        for name in names:
            await self._gone(f"{_app(name)}.bench")
            await self._root.images.remove(name)
        # What a cluster has it keeps for a while: the next round gets another cluster.
        going = [await self._root.remove_worker(CLUSTER, host.name) for host in hosts[1:]]
        await asyncio.gather(*(self._root.wait_operation(one.id, OPERATION_S) for one in going))
        removed = await self._root.remove_cluster(CLUSTER)
        await self._root.wait_operation(removed.id, OPERATION_S)
        await asyncio.gather(*(ground.run(host, REMOVE) for host in hosts[1:]))

    async def _gone(self, application: str) -> None:
        deadline = time.monotonic() + RUN_S
        while time.monotonic() < deadline:
            try:
                await self._root.application(application)
            except NotFound:
                return
            await asyncio.sleep(STEP_S)
        raise ground.Failed(f"oakctl: {application} does not go")


def _app(name: str) -> str:
    return "ar" + name.rpartition(":")[2]


def descriptor(name: str) -> str:
    """A service on each worker, in which Python sleeps."""
    services = [
        {
            "microservice_name": f"on{worker}",
            "microservice_namespace": "bench",
            "virtualization": "container",
            "code": name,
            "cmd": ["client"],
            "memory": 64,
            "environment": ["AR_NEXT=127.0.0.1"],
            "constraints": [{"type": "direct", "node": worker}],
        }
        for worker in WORKERS
    ]
    app = {
        "application_name": _app(name),
        "application_namespace": "bench",
        "microservices": services,
    }
    return json.dumps({"sla_version": "v2.0", "customerID": "Admin", "applications": [app]})


async def measure(
    archives: Sequence[Path], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Figures]]:
    """Build the lab, measure both in turn, take it away."""
    figures = {way: [Figures() for _ in archives] for way in ("docker", "oakctl")}
    names = [name_of(archive) for archive in archives]
    try:
        lab = await machines.up(LAB, PLAN, say)
        hosts = list(lab.hosts)
        for archive in archives:
            await ground.feed(hosts[0], "docker load", archive)
        async with hosted_root(), RootClient() as client:
            docker, ours = Docker(hosts), Oakctl(client)
            for host in hosts:
                await client.put_host(host)
            for number in range(1, rounds + 1):
                say(f"round {number} of {rounds}")
                for name, found in zip(names, figures["docker"], strict=True):
                    await measured(lambda name=name: docker.bring(name), hosts, found)
                await docker.clean()
                await ours.begin(hosts)
                for archive, found in zip(archives, figures["oakctl"], strict=True):
                    await measured(lambda archive=archive: ours.bring(archive), hosts, found)
                await ours.end(hosts, names)
    finally:
        await machines.down(LAB)
    return figures


def table(figures: dict[str, list[Figures]], archives: Sequence[Path]) -> list[str]:
    """Of each image and each way: seconds, and bytes to the hosts (median)."""
    sizes = ", ".join(f"{archive.stat().st_size / 1e6:.1f}" for archive in archives)
    lines = [
        f"archives of {sizes} MB",
        f"{'':<26}{'s':<26}{'MB to the cluster':<20}{'MB to each worker':<20}from the operator",
    ]
    for index, what in enumerate(("the image", "another top layer")):
        for way, found in figures.items():
            one = found[index]
            once, each = statistics.median(one.once) / 1e6, statistics.median(one.each) / 1e6
            sent = once if way == "oakctl" else each * len(WORKERS)
            lines.append(
                f"{what + ', ' + way:<26}{ground.spread(one.seconds):<26}{once:<20.3f}"
                f"{each:<20.3f}{sent:.3f}"
            )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="An image to three workers, and a newer one.")
    parser.add_argument("--rounds", type=int, default=3, help="how often")
    parser.add_argument("--image", type=Path, help="an archive with a name in it")
    parser.add_argument("--newer", type=Path, help="another one, of another name")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("real hosts need root: sudo python bench/images.py")
    with tempfile.TemporaryDirectory(prefix="oakctl-bench-") as directory:
        os.environ.update(ground.own_directories(Path(directory)))
        given = (chosen.image, chosen.newer)
        archives = given if all(given) else images(Path(directory))
        figures = asyncio.run(measure(archives, chosen.rounds, print))
        for line in table(figures, archives):
            print(line)


if __name__ == "__main__":
    main()
