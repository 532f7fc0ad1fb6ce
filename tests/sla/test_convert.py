"""From the file's words to the model's: defaults, units, names, artifacts, old files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oakctl import sla
from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.model.resources import Resources
from oakctl.model.service import (
    UP,
    Autoscale,
    MetricsEndpoint,
    Pace,
    Port,
    Probe,
    RestartPolicy,
    ServiceAddresses,
    ServiceSpec,
)

from .build import application, checked, descriptor, service


def spec(artifacts: dict[str, str] | None = None, **changes: Any) -> ServiceSpec:
    found = checked(service(**changes))
    assert found.descriptor is not None, found.errors
    (app,) = sla.convert(found.descriptor, artifacts or {})
    assert app.name == "shop.prod"
    return app.services[0]


def test_what_is_left_out_asks_for_nothing() -> None:
    assert spec() == ServiceSpec(
        job_name="shop.prod.web.prod",
        application="shop.prod",
        virtualization="container",
        code="docker.io/library/nginx:latest",
    )


def test_every_field_arrives() -> None:
    found = spec(
        cmd=["a", "b"],
        environment=["K=v=w"],
        memory=64,
        vcpus=1,
        vgpus=2,
        vtpus=3,
        storage=4,
        bandwidth_in=5,
        bandwidth_out=6,
        arch=["arm64", "amd64", "aarch64"],
        port="8080:80;53:53/udp",
        addresses={"rr_ip": "10.30.1.1", "closest_ip": "10.30.1.2"},
        one_shot=True,
        oakctl={
            "vcpus": 0.25,
            "ready": {"http": {"port": 80, "path": "/ok"}, "timeout": 3},
            "metrics": {"port": 9100},
            "pull": "always",
            "restart": {"when": "never", "backoff": 2},
            "listen": ["50101/udp"],
            "replicas": 3,
            "autoscale": {
                "min": 2,
                "max": 4,
                "target": {"queue_delay_ms": 20, "cpu": 80},
                "up": {"stabilisation": 3, "step": 2},
            },
            "grace": 1.5,
            "addresses": {"least_loaded": "auto"},
            "affinity": "client",
            "weights": {"edge": 3, "w1": 0},
        },
    )
    assert found.requests == Resources(0.25, 64, 4, 2, 3, 5, 6)
    assert found.architectures == ("aarch64", "x86_64")
    assert found.ports == (Port(80, 8080), Port(53, 53, "udp"))
    assert found.listen == (Port(50101, 0, "udp"),)
    assert found.addresses == ServiceAddresses("10.30.1.1", "10.30.1.2", "auto")
    assert found.affinity == "client"
    assert [found.weight(*at) for at in (("edge", "w1"), ("edge", "w2"), ("cloud", "v1"))] == [
        0,
        3,
        1,
    ]
    assert found.ready == Probe("http", port=80, path="/ok", timeout_s=3.0)
    assert found.metrics == MetricsEndpoint(9100)
    assert found.restart == RestartPolicy("never", backoff_s=2.0)
    assert found.autoscale == Autoscale(
        2, 4, {"cpu": 80.0, "queue_delay_ms": 20.0}, up=Pace(3.0, 2, UP.cooldown_s)
    )
    assert (found.replicas, found.grace_s, found.pull) == (3, 1.5, "always")
    assert wire.decode(wire.encode(found), ServiceSpec) == found


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        ({"tcp": 80}, Probe("tcp", port=80)),
        ({"command": ["test", "-f", "x"]}, Probe("command", command=("test", "-f", "x"))),
    ],
)
def test_probes(ready: dict[str, Any], probe: Probe) -> None:
    assert spec(oakctl={"ready": ready}).ready == probe


def test_a_one_shot_is_not_started_again_when_it_ended_well() -> None:
    assert spec(one_shot=True).restart.when == "on-failure"
    assert spec(one_shot=True, oakctl={"restart": "always"}).restart.when == "always"


def test_autoscale_begins_at_its_minimum() -> None:
    scale = {"min": 2, "max": 4, "target": {"cpu": 50}}
    assert spec(oakctl={"autoscale": scale}).replicas == 2
    assert spec(oakctl={"autoscale": scale, "replicas": 4}).replicas == 4


def test_constraints_keep_the_models_defaults() -> None:
    direct, geo, clusters = spec(
        constraints=[
            {"type": "direct", "cluster": "a;b", "node": "n"},
            {"type": "geo", "location": "11;48", "threshold": 5, "rigidness": 0.5},
            {"type": "clusters", "allowed": ["c"]},
        ]
    ).constraints
    assert (direct.clusters, direct.nodes, direct.rigidness) == (("a", "b"), ("n",), 1.0)
    assert (geo.threshold, geo.rigidness, geo.convergence_time_s) == (5, 0.5, 300)
    assert clusters.clusters == ("c",)


def test_constraints_to_one_target_are_joined() -> None:
    limit = {"threshold": 5, "rigidness": 0.9, "convergence_time": 30}
    entries = [
        {"target_microservice_id": "web", "con_constraints": [{"type": kind, **limit}]}
        for kind in ("latency", "bandwidth")
    ]
    (connectivity,) = spec(connectivity=entries).connectivity
    assert [c.kind for c in connectivity.constraints] == ["latency", "bandwidth"]
    assert connectivity.constraints[0].convergence_time_s == 30


def test_docker_means_container() -> None:
    assert spec(virtualization="docker").virtualization == "container"


def test_artifacts() -> None:
    digest = "ab" * 32
    process: dict[str, Any] = {"virtualization": "process"}
    assert spec(**process, code=f"sha256:{digest}").code == digest
    assert spec({"./app": digest}, **process, code="./app").code == digest
    with pytest.raises(OakError, match=r"the artifact \./app of web was not uploaded"):
        spec(**process, code="./app")
    found = checked(
        service("a", **process, code="./app"),
        service("b", **process, code="./app"),
        service("c", **process, code=f"sha256:{digest}"),
        service("d"),
    )
    assert found.artifact_references() == ("./app",)


def test_several_applications() -> None:
    found = sla.parse(
        json.dumps(
            descriptor(
                application(service(), application_desc="first"),
                application(service(), name="other"),
                application(name="empty"),
            )
        )
    )
    assert found.descriptor is not None
    apps = sla.convert(found.descriptor, {})
    assert [app.name for app in apps] == ["shop.prod", "other.prod", "empty.prod"]
    assert apps[0].description == "first"
    assert apps[1].services[0].job_name == "other.prod.web.prod"
    assert apps[2].services == ()


def test_an_old_file_is_named_and_wrapped() -> None:
    old = json.dumps({"microservices": [service(), service("db")]})
    found = sla.parse(old)
    assert not found.ok
    assert "from before SLA v2.0" in str(found.errors[0])
    assert "oakctl app convert" in str(found.errors[0])
    wrapped = sla.parse(sla.wrap_old_shape(old, name="mine"))
    assert wrapped.descriptor is not None
    (app,) = sla.convert(wrapped.descriptor, {})
    assert [s.job_name for s in app.services] == ["mine.prod.web.prod", "mine.prod.db.prod"]


def test_services_of_several_namespaces_share_no_application_namespace() -> None:
    old = {"microservices": [service(), service("db", microservice_namespace="test")]}
    wrapped = json.loads(sla.wrap_old_shape(json.dumps(old)))
    assert wrapped["applications"][0]["application_namespace"] == "default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "nothing to convert"),
        (json.dumps(descriptor()), "nothing to convert"),
        ('{"microservices": [], "microservices": []}', "it has faults"),
    ],
)
def test_what_cannot_be_wrapped(text: str, message: str) -> None:
    with pytest.raises(OakError, match=message):
        sla.wrap_old_shape(text)


def test_a_wrapped_application_needs_a_name() -> None:
    with pytest.raises(OakError, match="'a b' is not a name"):
        sla.wrap_old_shape('{"microservices": []}', name="a b")


def test_a_refused_descriptor_says_every_fault() -> None:
    with pytest.raises(OakError, match=r"x\.json is refused: 3 faults") as caught:
        sla.parse("{}").require("x.json")
    assert caught.value.details[0] == "sla_version: is missing"
