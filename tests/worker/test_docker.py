"""Containers on a real Docker Engine, run by a real agent."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oakctl.model import wire
from oakctl.model.instance import InstanceState
from oakctl.model.node import ContainerGrants
from oakctl.model.resources import Resources
from oakctl.model.service import AddedFiles, Port, Probe, RestartPolicy, ServiceSpec, Volume
from oakctl.node import __main__
from oakctl.orchestration.worker import procfs
from tests.bus_fixture import Bus, free_port
from tests.worker.docker_engine import IMAGE, DockerEngine, engine
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

pytestmark = [pytest.mark.slow]
NAME = "app.ns.srv.ns.instance.0"
FOREVER = ("/bin/sh", "-c", "echo up; trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    """One for all tests of this module."""
    with engine() as made:
        yield made


@pytest.fixture
def agent(bus: Bus, docker_engine: DockerEngine) -> Iterator[AgentProcess]:
    """As on a real host: no overlay, root, Docker."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = AgentProcess.create(
        bus,
        folder,
        overlay_driver="host",
        address="127.0.0.1",
        docker_socket=str(docker_engine.socket),
    )
    yield made
    made.destroy()
    if docker_engine.process is None:
        docker_engine.start()
    docker_engine.clean()
    shutil.rmtree(folder)


def container(*cmd: str, **changes: object) -> ServiceSpec:
    changes.setdefault("pull", "never")
    return spec(IMAGE, virtualization="container", cmd=cmd or FOREVER, **changes)


def shell(text: str, **changes: object) -> ServiceSpec:
    return container("/bin/sh", "-c", text, **changes)


def inspect(docker_engine: DockerEngine, name: str = NAME) -> dict[str, Any]:
    client = docker_engine.client
    (one,) = client.containers(all=True, filters={"label": f"oakctl.instance={name}"})
    found: dict[str, Any] = client.inspect_container(one["Id"])
    return found


async def running(agent: AgentProcess, orchestrator: Orchestrator, service: ServiceSpec) -> int:
    agent.start()
    await orchestrator.want(desired(service))
    return (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid


async def log_until(orchestrator: Orchestrator, last: str, name: str = NAME) -> list[str]:
    text, offset = "", 0
    while f"{last}\n" not in text:
        answer = await orchestrator.logs(name, offset, wait_s=5)
        assert not answer.error
        assert not answer.ended, text
        text, offset = text + answer.data, answer.next_offset
    return text.splitlines()


async def reason_is(orchestrator: Orchestrator, part: str) -> None:
    """Wait until the instance's reason has this in it."""

    def told() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and part in seen.reason

    await until(told, f"the reason to have {part!r} in it")


async def test_the_way_of_a_container(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    facts = orchestrator.greetings[-1].facts
    assert facts.runtimes == ("process", "container")
    assert facts.containers.engine.startswith("Docker ")
    found = inspect(docker_engine)
    labels = found["Config"]["Labels"]
    assert labels["oakctl.epoch"] == "1"
    assert labels["oakctl.worker"] == "w1"
    assert labels["oakctl.prefix"] == str(agent.prefix)
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert await log_until(orchestrator, "up") == ["up"]
    await orchestrator.want()
    await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    await until(lambda: orchestrator.reports[-1].instances == (), "the end to be confirmed")
    await until(lambda: not docker_engine.client.containers(all=True), "the container to go")
    await until(lambda: not agent.instance(NAME).exists(), "the directory to be removed")


async def test_inside_a_container(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    text = (
        "echo $COLOUR; echo $OAKCTL_BIND; echo $OAKCTL_INSTANCE; "
        "while read n v; do case $n in Cap*|NoNew*) echo $n $v;; esac; done < /proc/self/status; "
        "touch /no 2>/dev/null || echo read-only; echo end; sleep 600"
    )
    service = shell(text, environment=("COLOUR=red", "OAKCTL_BIND=forged"), read_only=True)
    await running(agent, orchestrator, service)
    said = await log_until(orchestrator, "end")
    assert said[:3] == ["red", "0.0.0.0", NAME]
    none = "0000000000000000"
    assert {f"CapEff: {none}", f"CapPrm: {none}", f"CapBnd: {none}", "NoNewPrivs: 1"} <= set(said)
    assert "read-only" in said


async def test_limits_are_set_and_hold(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    hog = "echo go; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
    requests = Resources(vcpus=0.5, memory_mb=16)
    service = shell(hog, requests=requests, restart=RestartPolicy(when="never"))
    agent.start()
    await orchestrator.want(desired(service))
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason == "killed by the kernel: out of memory (its limit is 16 MiB)"
    assert seen.limits == "cpu 0.5 memory 16 MiB pids 512 (Docker)"


async def test_a_fork_bomb_stops_at_the_limit_and_is_seen(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    bomb = "sh -c 'i=0; while [ $i -lt 700 ]; do sleep 600 & i=$((i+1)); done'; echo stopped; "
    service = shell(bomb + "while :; do sleep 1; done", requests=Resources(vcpus=0.5))
    await running(agent, orchestrator, service)
    said = await log_until(orchestrator, "stopped")
    assert any("fork" in line for line in said)
    found = inspect(docker_engine)
    limits = found["HostConfig"]
    assert (limits["PidsLimit"], limits["NanoCpus"]) == (512, 500_000_000)
    members = procfs.group_members(found["State"]["Pid"])
    assert 500 <= len(members) <= 512
    await until(
        lambda: orchestrator.statistics and orchestrator.statistics[-1].instances[0].memory_mb > 10,
        "statistics over many processes",
    )


async def test_agent_killed_adopts_the_same_container_and_loses_no_output(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    count = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"
    pid = await running(agent, orchestrator, shell(count))
    before = inspect(docker_engine)["Id"]
    await log_until(orchestrator, "line 20")
    for _ in range(2):
        reports = len(orchestrator.reports)
        agent.kill()
        agent.start()
        await until(lambda n=reports: len(orchestrator.reports) > n, "a report of the new agent")
        seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
        assert (seen.pid, seen.restarts) == (pid, 0)
        told = [report.instances[0].state for report in orchestrator.reports[reports:]]
        assert set(told) == {InstanceState.RUNNING}, "never anything else, not for a moment"
    assert inspect(docker_engine)["Id"] == before
    said = await log_until(orchestrator, "line 200")
    assert said[:201] == [f"line {number}" for number in range(201)]


async def test_exit_code_while_the_agent_is_away(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    service = shell("trap 'echo last; exit 7' TERM; while :; do sleep 0.05; done", one_shot=True,
                    restart=RestartPolicy(when="never"))  # fmt: skip
    await running(agent, orchestrator, service)
    agent.kill()
    docker_engine.client.kill(inspect(docker_engine)["Id"], signal.SIGTERM)
    await until(lambda: inspect(docker_engine)["State"]["Status"] == "exited", "its end")
    agent.start()
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert (seen.exit_code, seen.reason) == (7, "ended with exit code 7")
    assert (await orchestrator.logs(NAME)).data == "last\n"


async def test_restarts_are_ours_and_back_off(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    agent.start()
    await orchestrator.want(desired(shell("echo once; exit 3")))

    def loops() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.crash_looping

    await until(loops, "a crash loop to be shown", 60)
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason == "ended with exit code 3"
    said = (await orchestrator.logs(NAME)).data.splitlines()
    assert said[:5] == ["once"] * 5


async def test_one_shot(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    agent.start()
    await orchestrator.want(desired(shell("echo done", one_shot=True)))
    seen = await orchestrator.reaches(NAME, InstanceState.COMPLETED)
    assert (seen.exit_code, seen.restarts) == (0, 0)
    assert (await orchestrator.logs(NAME)).data == "done\n"


async def test_deaf_to_sigterm_is_killed(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    service = shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done", grace_s=0.5)
    await running(agent, orchestrator, service)
    await log_until(orchestrator, "deaf")
    await orchestrator.want()
    seen = await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    assert seen.exit_code == 137


async def test_higher_epoch_replaces(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    first = inspect(docker_engine)["Id"]
    await orchestrator.want(desired(container(), epoch=2))
    await orchestrator.reaches(NAME, InstanceState.RUNNING, epoch=2)
    found = inspect(docker_engine)
    assert found["Id"] != first
    assert found["Config"]["Labels"]["oakctl.epoch"] == "2"


async def test_ports_volumes_files_and_probe(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    sha, content = artifact(extra={"page.html": b"added"})
    orchestrator.artifacts[sha] = content
    (agent.prefix / "etc").mkdir(exist_ok=True)
    shared = agent.prefix / "shared"
    shared.mkdir()
    (shared / "note").write_text("of the host")
    grants = ContainerGrants(host_paths=(f"{shared}:ro",))
    (agent.prefix / "etc/grants.json").write_bytes(wire.encode(grants))
    port, other = free_port(), free_port()
    service = shell(
        "cat /host/note > /data/copy; echo w > /host/x || echo refused; "
        "httpd -p 80 -h /added; echo serving; sleep 600",
        ports=(Port(80, port),),
        listen=(Port(other),),
        volumes=(Volume("store", "/data"), Volume(str(shared), "/host", read_only=True)),
        added_files=(AddedFiles(sha, "/added"),),
        ready=Probe("http", port=80, path="/page.html", interval_s=0.1),
    )
    await running(agent, orchestrator, service)
    await until(lambda: (orchestrator.seen(NAME) or service).ready, "the probe to hold")
    url = f"http://127.0.0.1:{port}/page.html"
    assert urllib.request.urlopen(url, timeout=10).read() == b"added"
    bindings = inspect(docker_engine)["HostConfig"]["PortBindings"]
    assert bindings[f"{other}/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(other)}]
    assert "refused" in await log_until(orchestrator, "serving")
    reader = shell("cat /data/copy; echo; echo end; sleep 600", name="reader",
                   volumes=(Volume("store", "/data"),))  # fmt: skip
    await orchestrator.want(desired(service), desired(reader, 1))
    other_name = "app.ns.reader.ns.instance.1"
    await orchestrator.reaches(other_name, InstanceState.RUNNING)
    assert "of the host" in await log_until(orchestrator, "end", other_name)
    docker_engine.client.remove_container(inspect(docker_engine)["Id"], force=True)


async def test_what_is_not_granted_is_refused_on_the_worker_too(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    agent.start()
    service = container(
        privileged=True,
        capabilities=("NET_ADMIN",),
        devices=("/dev/null",),
        volumes=(Volume("/etc", "/host"),),
    )
    await orchestrator.want(desired(service))
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.blocked
    for what in ("privileged", "capability NET_ADMIN", "device /dev/null", "path /etc for writing"):
        assert what in seen.reason
    assert docker_engine.client.containers(all=True) == []


async def test_a_link_does_not_lead_out_of_what_is_granted(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    shared = agent.prefix / "shared"
    shared.mkdir()
    (shared / "way").symlink_to("/etc")
    (agent.prefix / "etc").mkdir(exist_ok=True)
    grants = ContainerGrants(host_paths=(str(shared),))
    (agent.prefix / "etc/grants.json").write_bytes(wire.encode(grants))
    agent.start()
    await orchestrator.want(desired(container(volumes=(Volume(f"{shared}/way", "/x"),))))
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason.startswith("path /etc for writing not granted")


async def test_killed_at_random_moments_one_container_each(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    seed = int(os.environ.get("OAKCTL_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"seed {seed} (again with OAKCTL_SEED={seed})\n")
    moments = random.Random(seed)
    once = shell("echo ran >> /data/ran", name="once", one_shot=True,
                 volumes=(Volume(f"v{seed}", "/data"),))  # fmt: skip
    agent.start()
    for number in range(4):
        wanted = [*orchestrator.desired.instances, desired(container(), number)]
        await orchestrator.want(*wanted)
        await asyncio.sleep(moments.uniform(0.0, 1.5))
        agent.kill()
        agent.start()
    await orchestrator.want(*orchestrator.desired.instances, desired(once, 9))
    await asyncio.sleep(moments.uniform(0.0, 1.5))
    agent.kill()
    agent.start()
    client = docker_engine.client
    for one in orchestrator.desired.instances[:4]:
        seen = await orchestrator.reaches(one.name, InstanceState.RUNNING)
        found = client.containers(filters={"label": f"oakctl.instance={one.name}"})
        assert [client.inspect_container(c["Id"])["State"]["Pid"] for c in found] == [seen.pid]
    await orchestrator.reaches("app.ns.once.ns.instance.9", InstanceState.COMPLETED)
    client_of_volume = client.create_container(
        IMAGE, ["cat", "/data/ran"],
        host_config=client.create_host_config(binds=[f"oakctl.app.ns.v{seed}:/data"]),
    )  # fmt: skip
    client.start(client_of_volume["Id"])
    client.wait(client_of_volume["Id"])
    assert client.logs(client_of_volume["Id"]) == b"ran\n"


async def test_what_is_granted_is_there(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    (agent.prefix / "etc").mkdir(exist_ok=True)
    grants = ContainerGrants(
        capabilities=("NET_ADMIN",), devices=("/dev/full",), vtpu_devices=("/dev/random",)
    )
    (agent.prefix / "etc/grants.json").write_bytes(wire.encode(grants))
    service = shell(
        "ls /dev/full /dev/random; while read n v; do [ $n = CapEff: ] && echo $v; done "
        "< /proc/self/status; echo end; sleep 600",
        capabilities=("NET_ADMIN",),
        devices=("/dev/full",),
        requests=Resources(vtpus=1),
    )
    await running(agent, orchestrator, service)
    said = await log_until(orchestrator, "end")
    assert said == ["/dev/full", "/dev/random", "0000000000001000", "end"]
    devices = inspect(docker_engine)["HostConfig"]["Devices"]
    assert [one["PathOnHost"] for one in devices] == ["/dev/full", "/dev/random"]


async def test_strays_of_ours_go_and_strangers_stay(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    client = docker_engine.client
    host = client.create_host_config()

    def make(labels: dict[str, str]) -> str:
        made = client.create_container(IMAGE, ["sleep", "600"], labels=labels, host_config=host)
        client.start(made["Id"])
        return str(made["Id"])

    ours = {"oakctl.prefix": str(agent.prefix), "oakctl.epoch": "1", "oakctl.attempt": "1"}
    stray = make({**ours, "oakctl.instance": "app.ns.gone.ns.instance.0"})
    stranger = make({})
    neighbour = make({**ours, "oakctl.prefix": "/another", "oakctl.instance": NAME})
    await running(agent, orchestrator, container())

    def ids() -> set[str]:
        return {one["Id"] for one in client.containers(all=True)}

    await until(lambda: stray not in ids(), "the stray to go")
    assert {stranger, neighbour} <= ids()


async def test_docker_restarts_in_the_middle(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    docker_engine.stop()
    await until(
        lambda: "Docker is stopped" in orchestrator.greetings[-1].facts.containers.reason,
        "the facts to say so",
    )
    assert orchestrator.greetings[-1].facts.runtimes == ("process",)
    await orchestrator.reaches(NAME, InstanceState.CREATING)
    await reason_is(orchestrator, "Docker is stopped")
    docker_engine.start()
    await until(lambda: orchestrator.greetings[-1].facts.containers.engine, "Docker to be back")

    def again() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.state is InstanceState.RUNNING and seen.restarts == 1

    await until(again, "the instance to run again", 60)
    assert inspect(docker_engine)["State"]["Running"]


async def test_docker_killed_in_the_middle(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    docker_engine.stop(signal.SIGKILL)
    docker_engine.start()

    def again() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.state is InstanceState.RUNNING and seen.restarts == 1

    await until(again, "the instance to run again", 60)
    client = docker_engine.client
    assert len(client.containers(filters={"label": f"oakctl.instance={NAME}"})) == 1


async def test_removed_by_somebody_else(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container(restart=RestartPolicy(when="never")))
    docker_engine.client.remove_container(inspect(docker_engine)["Id"], force=True)
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason == "its container was removed, and not by the agent"


async def test_port_of_a_strangers_container(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    port = free_port()
    client = docker_engine.client
    host = client.create_host_config(port_bindings={80: ("127.0.0.1", port)})
    made = client.create_container(IMAGE, ["sleep", "600"], ports=[80], host_config=host)
    client.start(made["Id"])
    agent.start()
    await orchestrator.want(desired(container(ports=(Port(80, port),))))
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert f"port {port} of this node is taken" in seen.reason
    assert seen.blocked
    client.remove_container(made["Id"], force=True)
    await orchestrator.reaches(NAME, InstanceState.RUNNING)


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (container("/no/such/program"), "cannot run /no/such/program: it is not in the image"),
        (container("/data"), "cannot run /data: it is no program"),
    ],
    ids=["absent", "a folder"],
)
async def test_programs_that_cannot_run(
    agent: AgentProcess, orchestrator: Orchestrator, service: ServiceSpec, reason: str
) -> None:
    agent.start()
    await orchestrator.want(desired(service))
    assert (await orchestrator.reaches(NAME, InstanceState.FAILED)).reason == reason


@pytest.mark.parametrize(
    ("image", "pull", "reason"),
    [
        ("not-here:1", "never", "it is not on this node, and `pull: never`"),
        ("127.0.0.1:1/not-here:1", "missing", "the registry is not reached from this node"),
        ("not-here.invalid/x:1", "missing", "the registry's name is not found"),
        ("Not//A Name", "missing", "that is not the name of an image"),
    ],
)
async def test_images_that_do_not_come(
    agent: AgentProcess, orchestrator: Orchestrator, image: str, pull: str, reason: str
) -> None:
    agent.start()
    await orchestrator.want(desired(spec(image, virtualization="container", pull=pull)))
    await reason_is(orchestrator, reason)
    assert orchestrator.state(NAME) is InstanceState.CREATING


async def test_image_for_another_processor(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    docker_engine.load_image("oakctl-test:foreign", architecture="riscv64")
    agent.start()
    await orchestrator.want(
        desired(spec("oakctl-test:foreign", virtualization="container", pull="never"))
    )
    await reason_is(orchestrator, "it is for linux/riscv64, this node is linux/")
    assert docker_engine.client.containers(all=True) == []


async def test_clear_takes_containers_along(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    (agent.prefix / "etc").mkdir()
    shutil.copy(agent.prefix / "worker.json", agent.prefix / "etc/worker.json")
    stranger = docker_engine.client.create_container(IMAGE, ["sleep", "600"])["Id"]
    agent.kill()
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) == 0
    assert [one["Id"] for one in docker_engine.client.containers(all=True)] == [stranger]
