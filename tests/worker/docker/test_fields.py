"""What the descriptor says of a container, read inside it or off a real Docker Engine."""

from __future__ import annotations

import urllib.request

import pytest

from oakctl.model import wire
from oakctl.model.instance import InstanceState
from oakctl.model.node import ContainerGrants
from oakctl.model.resources import Resources
from oakctl.model.service import AddedFiles, Port, Probe, RestartPolicy, Volume
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.docker import accelerators, request, words
from oakctl.orchestration.worker.docker.accelerators import Accelerators
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.errors import EngineRefused
from oakctl.orchestration.worker.docker.request import Surroundings
from tests.bus_fixture import free_port
from tests.worker.docker.parts import NODE, instance
from tests.worker.docker.stage import (
    NAME,
    container,
    inspect,
    log_until,
    running,
    shell,
)
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, until

pytestmark = [pytest.mark.slow]


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


async def test_what_is_mounted_is_where_the_link_led_when_it_was_compared(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    shared = agent.prefix / "shared"
    (shared / "really").mkdir(parents=True)
    (shared / "way").symlink_to(shared / "really")
    (agent.prefix / "etc").mkdir(exist_ok=True)
    grants = ContainerGrants(host_paths=(str(shared),))
    (agent.prefix / "etc/grants.json").write_bytes(wire.encode(grants))
    service = container(volumes=(Volume(f"{shared}/way", "/x"),))
    await running(agent, orchestrator, service)
    (mount,) = inspect(docker_engine)["Mounts"]
    assert mount["Source"] == str((shared / "really").resolve())


async def test_privileged_reaches_docker(driver: Driver, docker_engine: DockerEngine) -> None:
    """By what Docker says of it: the machine of a test may itself not have every capability."""
    service = instance(cmd=("/bin/sh",), privileged=True)
    assert driver.engine is not None
    body = request.body(service, 1, NODE, Surroundings(IMAGE, "127.0.0.1"))
    id_ = driver.engine.create("privileged", body)
    config = docker_engine.client.inspect_container(id_)["HostConfig"]
    assert (config["Privileged"], config["CapDrop"]) == (True, None)
    driver.engine.remove(id_)


async def test_a_device_node_that_stands_for_a_gpu(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    (agent.prefix / "etc").mkdir(exist_ok=True)
    grants = ContainerGrants(vgpu_devices=("/dev/full", "/dev/random"))
    (agent.prefix / "etc/grants.json").write_bytes(wire.encode(grants))
    text = "ls /dev/full; (echo x > /dev/full) 2> /dev/null || echo full; echo end; sleep 600"
    service = shell(text, requests=Resources(vgpus=1))
    await running(agent, orchestrator, service)
    said = await log_until(orchestrator, "end")
    assert said == ["/dev/full", "full", "end"]
    assert inspect(docker_engine)["Config"]["Labels"]["oakctl.gpus"] == "/dev/full"
    await orchestrator.want(desired(service), desired(service, 1), desired(service, 2))
    await orchestrator.reaches("app.ns.srv.ns.instance.1", InstanceState.RUNNING)
    third = await orchestrator.reaches("app.ns.srv.ns.instance.2", InstanceState.FAILED)
    assert third.reason == "asks for 1 vgpus, 0 of 2 are free here"


async def test_the_device_request_for_a_gpu_reaches_docker(
    driver: Driver, docker_engine: DockerEngine
) -> None:
    here = Accelerators(accelerators.NVIDIA, ("0", "1"))
    around = Surroundings(IMAGE, "127.0.0.1", assigned=accelerators.assign(1, 0, here, ["0"]))
    engine = driver.engine
    assert engine is not None
    id_ = engine.create("gpu", request.body(instance(cmd=("/bin/sh",)), 1, NODE, around))
    (sent,) = docker_engine.client.inspect_container(id_)["HostConfig"]["DeviceRequests"]
    assert (sent["Driver"], sent["DeviceIDs"], sent["Capabilities"]) == ("nvidia", ["1"], [["gpu"]])
    with pytest.raises(EngineRefused) as refused:
        engine.start(id_)
    assert "install the NVIDIA container toolkit" in words.in_words(str(refused.value))
    engine.remove(id_)


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
