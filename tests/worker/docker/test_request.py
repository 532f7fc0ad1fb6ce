"""A service as the request that creates its container."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.resources import Resources
from oakctl.model.service import AddedFiles, Port, Volume
from oakctl.orchestration.worker.docker import (
    request,
    seen,
)
from tests.worker.docker.parts import AROUND, NAME, NODE, host_config, instance


def test_a_plain_container_gets_nothing() -> None:
    config = host_config()
    assert config["CapDrop"] == ["ALL"]
    assert config["CapAdd"] == []
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["RestartPolicy"] == {"Name": "no"}
    assert config["Devices"] == config["Mounts"] == []
    assert config["PidsLimit"] == request.MOST_PROCESSES
    assert not {"Privileged", "Memory", "NanoCpus", "DeviceRequests", "Runtime"} & config.keys()


def test_labels_name_the_start() -> None:
    body = request.body(instance(), 7, NODE, AROUND)
    assert seen.key_of(body["Labels"]) == seen.Key(NAME, 3, 7)
    assert body["Labels"][seen.PREFIX] == "/opt/oakctl"
    assert request.container_name(NODE, instance(), 7).endswith(f".{NAME}.3.7")
    other = request.container_name(replace(NODE, prefix="/x"), instance(), 7)
    assert other != request.container_name(NODE, instance(), 7)
    assert "Cmd" not in body
    assert request.body(instance(cmd=("a", "b")), 1, NODE, AROUND)["Cmd"] == ["a", "b"]


@given(
    st.floats(0, 64, allow_nan=False), st.integers(0, 1_000_000), st.sampled_from([0.5, 1.0, 8.0])
)
def test_limits(vcpus: float, memory: int, cpus: float) -> None:
    node = replace(NODE, cpus=cpus)
    config = host_config(node=node, requests=Resources(vcpus=vcpus, memory_mb=memory))
    assert ("NanoCpus" in config) == (vcpus > 0)
    assert 10_000_000 <= config.get("NanoCpus", 10_000_000) <= cpus * 1e9
    assert ("Memory" in config) == (memory > 0)
    assert config.get("Memory", 0) == config.get("MemorySwap", 0) == memory * 1024 * 1024


def test_limits_in_words() -> None:
    service = instance(requests=Resources(vcpus=0.5, memory_mb=64)).service
    text = "cpu 0.5 memory 64 MiB pids 512 (Docker)"
    assert request.limits_in_words(service, NODE, ()) == text
    missing = request.limits_in_words(service, NODE, ("memory",))
    assert missing == f"{text}; limits not enforced: memory"


def test_ports_on_a_bridge_and_on_the_hosts_network() -> None:
    ports = {"ports": (Port(80, 8080), Port(53, 0, "udp")), "listen": (Port(9000),)}
    body = request.body(instance(**ports), 1, NODE, AROUND)
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "192.0.2.7", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "192.0.2.7", "HostPort": "53"}],
        "9000/tcp": [{"HostIp": "192.0.2.7", "HostPort": "9000"}],
    }
    assert body["ExposedPorts"].keys() == {"80/tcp", "53/udp", "9000/tcp"}
    assert "OAKCTL_BIND=0.0.0.0" in body["Env"]
    everywhere = request.body(instance(**ports), 1, NODE, replace(AROUND, bind="0.0.0.0"))
    assert everywhere["HostConfig"]["PortBindings"]["80/tcp"][0]["HostIp"] == ""
    lab = replace(NODE, network=request.HOST)
    inside = request.body(instance(**ports), 1, lab, replace(AROUND, bind="127.3.0.70"))
    assert inside["HostConfig"]["PortBindings"] == inside["ExposedPorts"] == {}
    assert inside["HostConfig"]["NetworkMode"] == "host"
    assert "OAKCTL_BIND=127.3.0.70" in inside["Env"]


def test_environment_of_ours_wins() -> None:
    desired = instance(environment=("A=1", "A=2", "OAKCTL_BIND=x", "B=a=b"))
    around = replace(AROUND, reach={"OAKCTL_ADDR_REC": "127.2.0.9"})
    found = request.environment(desired, NODE, around)
    assert found == [
        "A=2",
        "OAKCTL_BIND=0.0.0.0",
        "B=a=b",
        f"OAKCTL_INSTANCE={NAME}",
        "OAKCTL_ADDR_REC=127.2.0.9",
    ]
    desired.reach.update(X="10.30.0.9", Y="10.30.0.8")
    addresses = {"10.30.0.9": "127.2.0.9", "10.30.0.8": ""}
    assert request.reachable(desired, addresses.__getitem__) == {"X": "127.2.0.9"}


def test_storage() -> None:
    config = host_config(
        around=replace(AROUND, folders={"a" * 64: "/opt/oakctl/artifacts/a"}),
        volumes=(Volume("store", "/data"), Volume("/srv/x", "/x", read_only=True)),
        added_files=(AddedFiles("a" * 64, "/models"),),
        read_only=True,
    )
    assert config["ReadonlyRootfs"] is True
    volume, path, added = config["Mounts"]
    assert (volume["Type"], volume["Source"], volume["Target"]) == (
        "volume",
        "oakctl.app.ns.store",
        "/data",
    )
    assert volume["VolumeOptions"]["Labels"][seen.WORKER] == "w1"
    assert (path["Type"], path["Source"], path["ReadOnly"]) == ("bind", "/srv/x", True)
    assert (added["Source"], added["Target"], added["ReadOnly"]) == (
        "/opt/oakctl/artifacts/a",
        "/models",
        True,
    )


def test_privileged_is_whole() -> None:
    config = host_config(privileged=True)
    assert config["Privileged"] is True
    assert not {"CapDrop", "SecurityOpt"} & config.keys()
