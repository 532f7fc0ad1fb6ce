"""Ports of the host: what an instance takes, and when another may not have it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.model.node import ContainerFacts, ContainerGrants
from oakctl.model.resources import Resources
from oakctl.model.service import Port, ServiceSpec, Volume
from oakctl.orchestration.scheduling import filters
from oakctl.orchestration.scheduling.candidate import Candidate, Surroundings
from tests.scheduling import samples

NOWHERE = Surroundings()


def worker(**facts: object) -> Candidate:
    plain = samples.worker("w1")
    return replace(plain, facts=replace(plain.facts, **facts))  # type: ignore[arg-type]


def container(**changes: object) -> ServiceSpec:
    return samples.service(virtualization="container", **changes)


def test_a_port_is_taken_once_where_there_is_no_overlay() -> None:
    spec = samples.service(listen=(Port(container=8080, host=0, protocol="tcp"),))
    taken = replace(worker(), host_ports={("tcp", 8080): samples.JOB})
    alone = replace(taken, facts=replace(taken.facts, overlay_driver="host"))
    assert filters.host_ports(spec, taken, NOWHERE) == ""
    assert filters.host_ports(spec, alone, NOWHERE) == (
        f"port 8080/tcp of the host is taken by {samples.JOB}: this worker has no overlay"
    )
    assert filters.host_ports(spec, replace(alone, host_ports={}), NOWHERE) == ""


def test_what_an_instance_takes_of_its_host() -> None:
    ports = {"ports": (Port(80, 8080), Port(53, 53, "udp")), "listen": (Port(9000),)}
    process, web = samples.service(**ports), container(**ports)
    published = (("tcp", 8080), ("udp", 53))
    assert filters.claims(process, "loopback") == filters.claims(web, "loopback") == published
    # A process listens on the host itself; a container's inner port is nobody else's business.
    assert set(filters.claims(process, "host")) == {*published, ("tcp", 80), ("tcp", 9000)}
    assert filters.claims(web, "host") == (*published, ("tcp", 9000))


def test_two_containers_may_both_listen_on_80() -> None:
    other = container(ports=(Port(80, 8081),))
    alone = worker(overlay_driver="host")
    busy = replace(alone, host_ports=dict.fromkeys(filters.claims(other, "host"), "x.ns.y.ns"))
    assert filters.host_ports(container(ports=(Port(80, 8080),)), busy, NOWHERE) == ""
    conflict = filters.host_ports(container(ports=(Port(80, 8081),)), busy, NOWHERE)
    assert conflict.startswith("port 8081/tcp of the host is taken by x.ns.y.ns")


def test_why_there_are_no_containers_is_said() -> None:
    without = worker(containers=ContainerFacts(reason="Docker is stopped"))
    assert filters.runtime(container(), without, NOWHERE) == (
        "virtualization container is not among process: Docker is stopped"
    )
    there = worker(runtimes=("process", "container"))
    assert filters.runtime(container(), there, NOWHERE) == ""


@pytest.mark.parametrize(
    ("asked", "grants", "reason"),
    [
        ({"privileged": True}, ContainerGrants(privileged=True), ""),
        ({"privileged": True}, ContainerGrants(), "privileged containers"),
        ({"capabilities": ("NET_ADMIN",)}, ContainerGrants(capabilities=("cap_net_admin",)), ""),
        ({"capabilities": ("NET_ADMIN",)}, ContainerGrants(privileged=True), ""),
        ({"capabilities": ("NET_ADMIN",)}, ContainerGrants(), "capability NET_ADMIN"),
        ({"devices": ("/dev/a",)}, ContainerGrants(devices=("/dev/a",)), ""),
        ({"devices": ("/dev/ab",)}, ContainerGrants(devices=("/dev/a",)), "device /dev/ab"),
        ({"volumes": (Volume("named", "/x"),)}, ContainerGrants(), ""),
        ({"volumes": (Volume("/srv/a", "/x"),)}, ContainerGrants(host_paths=("/srv",)), ""),
        (
            {"volumes": (Volume("/srv/a", "/x"),)},
            ContainerGrants(host_paths=("/srv:ro",)),
            "path /srv/a for writing",
        ),
        (
            {"volumes": (Volume("/srv/a", "/x", read_only=True),)},
            ContainerGrants(host_paths=("/srv:ro",)),
            "",
        ),
        (
            {"volumes": (Volume("/srvother", "/x", read_only=True),)},
            ContainerGrants(host_paths=("/srv",)),
            "path /srvother",
        ),
        (
            {"volumes": (Volume("/srv/../etc", "/x"),)},
            ContainerGrants(host_paths=("/srv",)),
            "path /srv/../etc for writing",
        ),
    ],
)
def test_what_the_operator_grants(
    asked: dict[str, object], grants: ContainerGrants, reason: str
) -> None:
    there = worker(containers=ContainerFacts(grants=grants))
    told = f"{reason} not granted by this host's operator (etc/grants.json)" if reason else ""
    assert filters.granted(container(**asked), there, NOWHERE) == told
    assert filters.granted(samples.service(**asked), there, NOWHERE) == ""


def test_gpus_that_docker_cannot_hand_in() -> None:
    asks = container(requests=Resources(vgpus=1))
    there = {"capacity": Resources(vgpus=1)}
    assert "cannot be handed" in filters.accelerators(asks, worker(**there), NOWHERE)
    able = worker(**there, containers=ContainerFacts(gpus="nvidia"))
    assert filters.accelerators(asks, able, NOWHERE) == ""
    declared = worker(**there, declared=("vgpus",))
    assert filters.accelerators(asks, declared, NOWHERE) == ""
