"""Every rule: what is refused, with which path and words, and what is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oakctl import sla

from .build import application, checked, descriptor, errors, service, short, warnings


def test_a_right_file_has_no_findings() -> None:
    found = checked(service())
    assert found.ok
    assert found.findings == ()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"vcpus": -1}, "vcpus: -1 is not ≥ 0"),
        ({"vcpus": "2"}, "vcpus: '2' is not an integer"),
        ({"vcpus": True}, "vcpus: true is not an integer"),
        ({"vcpus": 0.5}, "vcpus: 0.5 is not an integer (fractions of a core go into oakctl.vcpus)"),
        ({"memory": 10**12}, "memory: 1000000000000 is not ≤ 1000000000"),
        ({"microserviceID": "abc"}, "microserviceID: 'abc' has to be empty: the root gives it"),
        ({"code": " "}, "code: ' ' is empty"),
        ({"code": None}, "code: is missing"),
        ({"virtualization": None}, "virtualization: is missing"),
        ({"one_shot": "yes"}, "one_shot: 'yes' is not true or false"),
        ({"cmd": "ls -l"}, "cmd: 'ls -l' is not a list"),
        ({"cmd": ["ls", 1]}, "cmd[1]: 1 is not a string"),
        ({"addresses": []}, "addresses: [] is not an object"),
        ({"port": 80}, 'port: 80 is not a string (write "80")'),
        ({"port": "80:80/sctp"}, "port: '80:80/sctp' has 'sctp' where tcp or udp belongs"),
        ({"port": "80:70000"}, "port: '80:70000' has port 70000, which is not in 1..65535"),
        ({"environment": ["A=1", "B"]}, "environment[1]: 'B' is not KEY=VALUE"),
        ({"environment": ["=1"]}, "environment[0]: '=1' is not KEY=VALUE"),
        ({"virtualization": "unikernel"}, "arch: is missing: a unikernel is built for one"),
        ({"volumes": [{"volume_id": "v"}]}, "volumes[0].csi_driver: is missing"),
        (
            {"volumes": [{"volume_id": "v", "csi_driver": "csi.x/path", "mount_path": "/d"}]},
            "volumes[0].csi_driver: 'csi.x/path' has no driver here: nothing is mounted by CSI "
            '(oakctl: {volumes: ["NAME:/d"]} is a volume on the node; a path of the host is '
            "/HOST/PATH:/d, where its operator allows it)",
        ),
        (
            {"added_files": ["./models"]},
            "added_files[0]: './models' is not ./FOLDER:/PATH, ./FILE:/PATH, "
            "FILES.tar.gz:/PATH or sha256:HEX:/PATH",
        ),
        (
            {"oakctl": {"volumes": ["data"]}},
            "oakctl.volumes[0]: 'data' is not NAME:/PATH or /HOST/PATH:/PATH, with :ro behind it "
            "to read alone",
        ),
        (
            {"oakctl": {"volumes": ["/srv/../etc:/x"]}},
            "oakctl.volumes[0]: '/srv/../etc:/x' has '/srv/../etc' where an absolute path below "
            "/ belongs",
        ),
        (
            {"oakctl": {"volumes": ["a:/x", "b:/x"]}},
            "oakctl.volumes[1]: 'b:/x' mounts at /x, where another is already",
        ),
        (
            {"oakctl": {"volumes": ["a:/x"]}, "added_files": ["./f:/x"]},
            "added_files[0]: './f:/x' mounts at /x, where another is already",
        ),
        (
            {"oakctl": {"devices": ["/etc/passwd"]}},
            "oakctl.devices[0]: '/etc/passwd' is not the path of a device: /dev/NAME",
        ),
        (
            {"oakctl": {"capabilities": ["ALL"]}},
            "oakctl.capabilities[0]: 'ALL' is not one capability, such as NET_ADMIN",
        ),
        ({"oakctl": {"vcpus": -0.5}}, "oakctl.vcpus: -0.5 is not ≥ 0"),
        ({"oakctl": {"pull": "often"}}, "oakctl.pull: 'often' is not never, missing or always"),
        ({"oakctl": {"metrics": {}}}, "oakctl.metrics.port: is missing"),
        ({"oakctl": {"metrics": {"port": 0}}}, "oakctl.metrics.port: 0 is not ≥ 1"),
        (
            {"oakctl": {"restart": "sometimes"}},
            "oakctl.restart.when: 'sometimes' is not always, on-failure or never",
        ),
        (
            {"oakctl": {"ready": {}}},
            "oakctl.ready: has none: exactly one of tcp, http and command is needed",
        ),
        (
            {"oakctl": {"ready": {"tcp": 1, "command": ["x"]}}},
            "oakctl.ready: has tcp and command: exactly one of tcp, http and command is needed",
        ),
        ({"oakctl": {"ready": {"command": []}}}, "oakctl.ready.command: [] is empty"),
        (
            {"oakctl": {"listen": ["1:2/udp"]}},
            "oakctl.listen[0]: '1:2/udp' is not PORT, PORT/tcp or PORT/udp: "
            "listen publishes nothing on hosts",
        ),
        (
            {"oakctl": {"listen": ["9/udp", "9/udp"]}},
            "oakctl.listen[1]: '9/udp' is a port of this service already",
        ),
        (
            {"port": "80:9", "oakctl": {"listen": ["9"]}},
            "oakctl.listen[0]: '9' is a port of this service already",
        ),
        (
            {"oakctl": {"autoscale": {"max": 2, "target": {}}}},
            "oakctl.autoscale.target: has none: at least one of "
            "cpu, queue_delay_ms, latency_ms, rps is needed",
        ),
        (
            {"oakctl": {"autoscale": {"max": 2, "target": {"cpu": 1, "rps": 1}}}},
            "oakctl.autoscale.target: rps is read from the instances: "
            "`oakctl.metrics` has to say where",
        ),
        (
            {"oakctl": {"autoscale": {"min": 3, "max": 2, "target": {"cpu": 1}}}},
            "oakctl.autoscale.min: 3 is not ≤ max, which is 2",
        ),
        (
            {"oakctl": {"replicas": 9, "autoscale": {"max": 2, "target": {"cpu": 1}}}},
            "oakctl.replicas: 9 is not in 1..2, the bounds of autoscale",
        ),
        (
            {"virtualization": "process", "code": "https://example.org/x.tar.gz"},
            "code: 'https://example.org/x.tar.gz' is not ./FOLDER, FILE.tar.gz or sha256:HEX",
        ),
        (
            {"virtualization": "process", "code": "sha256:12"},
            "code: 'sha256:12' is not sha256: and 64 hexadecimal digits",
        ),
    ],
)
def test_one_fault_of_a_service(changes: dict[str, Any], fault: str) -> None:
    assert errors(checked(service(**changes))) == [f"services[0].{fault}"]


@pytest.mark.parametrize(
    "text", ["garbage", "80:", ":80", "80:80:80", "80/", "-1", "８０", "80 80"]
)
def test_ports_without_form(text: str) -> None:
    (fault,) = errors(checked(service(port=text)))
    assert fault.startswith(f"services[0].port: {text!r}")


@pytest.mark.parametrize("text", ["", "80", "80:80", "80:80/tcp", "53:53/UDP", "1:1; 2:2/udp;"])
def test_ports_with_form(text: str) -> None:
    assert checked(service(port=text)).ok


@pytest.mark.parametrize(
    ("constraint", "faults"),
    [
        ({"type": "latency"}, ["threshold: is missing", "area: is missing"]),
        ({"type": "latency", "area": "x", "threshold": -1}, ["threshold: -1 is not ≥ 0"]),
        ({"type": "geo"}, ["location: is missing", "threshold: is missing"]),
        ({"type": "geo", "location": "1;2"}, ["threshold: is missing"]),
        ({"type": "geo", "location": "here", "threshold": 1}, ["location: 'here' is not"]),
        ({"type": "geo", "location": "200;1", "threshold": 1}, ["location: '200;1' has longitude"]),
        ({"type": "direct"}, ["cluster: is missing: a direct constraint needs cluster or node"]),
        ({"type": "direct", "node": ";"}, ["node: ';' names nothing"]),
        ({"type": "clusters", "allowed": []}, ["allowed: is missing"]),
        ({"type": "addons"}, ["needs: is missing"]),
        ({"type": "nonsense"}, ["type: 'nonsense' is not one of latency, geo, direct"]),
        ({"type": "latenci"}, ["type: 'latenci' is not one of latency, geo, direct"]),
        ({"threshold": 1}, ["type: is missing"]),
        (
            {"type": "direct", "node": "a", "rigidness": 7, "convergence_time": -1},
            ["rigidness: 7 is not ≤ 1", "convergence_time: -1 is not ≥ 0"],
        ),
    ],
)
def test_constraints(constraint: dict[str, Any], faults: list[str]) -> None:
    found = errors(checked(service(constraints=[constraint])))
    assert len(found) == len(faults)
    for fault in faults:
        assert any(line.startswith(f"services[0].constraints[0].{fault}") for line in found), found


@pytest.mark.parametrize("text", ["11.5;48.1", "48.1,11.5", "48.1, 11.5, 30"])
def test_both_orders_of_a_location_mean_one_point(text: str) -> None:
    found = checked(service(constraints=[{"type": "geo", "location": text, "threshold": 9}]))
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, {})
    location = app.services[0].constraints[0].location
    assert location is not None
    assert (location.latitude, location.longitude) == (48.1, 11.5)


def test_all_fields_of_a_connection_are_needed() -> None:
    entry = {"target_microservice_id": "web", "con_constraints": [{"type": "x"}]}
    found = errors(checked(service(connectivity=[entry])))
    path = "services[0].connectivity[0].con_constraints[0]"
    assert found == [
        f"{path}.threshold: is missing",
        f"{path}.rigidness: is missing",
        f"{path}.convergence_time: is missing",
        f"{path}.type: 'x' is not one of latency, bandwidth, geo",
    ]


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("not-an-ip", "is not an IPv4 address"),
        ("10.30.1", "is not an IPv4 address"),
        ("10.30.001.1", "is not an IPv4 address"),
        ("10.31.0.1", "is outside the service network 10.30.0.0/16"),
        ("10.30.0.0", "is the network's own address in 10.30.0.0/16"),
        ("fdff:2000::1", "is not an IPv4 address"),
    ],
)
def test_service_addresses(address: str, fault: str) -> None:
    for key in ("rr_ip", "closest_ip"):
        found = errors(checked(service(addresses={key: address})))
        assert found == [f"services[0].addresses.{key}: {address!r} {fault}"]


def test_how_new_flows_are_shared() -> None:
    given = {"addresses": {"least_loaded": "10.31.0.1"}, "affinity": "cookie", "weights": {"w": 61}}
    found = errors(checked(service(oakctl=given)))
    assert [line.split(":")[0] for line in found] == [
        "services[0].oakctl.addresses.least_loaded",
        "services[0].oakctl.affinity",
        "services[0].oakctl.weights.w",
    ]
    assert "is outside the service network 10.30.0.0/16" in found[0]


def test_addresses_of_version_6() -> None:
    given = {"rr_ip_v6": "fdff:1000::1", "closest_ip_v6": "x"}
    assert errors(checked(service(addresses=given))) == [
        "services[0].addresses.rr_ip_v6: 'fdff:1000::1' is outside fdff:2000::/21",
        "services[0].addresses.closest_ip_v6: 'x' is not an IPv6 address",
    ]


def test_an_address_given_twice() -> None:
    found = checked(
        service("a", addresses={"rr_ip": "10.30.1.1", "closest_ip": "10.30.1.1"}),
        service("b", addresses={"rr_ip": "10.30.1.1"}),
        service("c", addresses={"rr_ip": ""}),
        service("d", addresses={"rr_ip": ""}),
        service("e", oakctl={"addresses": {"least_loaded": "10.30.1.1"}}),
        service("f", oakctl={"addresses": {"least_loaded": "auto"}}),
        service("g", oakctl={"addresses": {"least_loaded": "auto"}}),
    )
    assert errors(found) == [
        "services[0].addresses.closest_ip: '10.30.1.1' is given already, "
        "at services[0].addresses.rr_ip",
        "services[1].addresses.rr_ip: '10.30.1.1' is given already, at services[0].addresses.rr_ip",
        "services[4].oakctl.addresses.least_loaded: '10.30.1.1' is given already, "
        "at services[0].addresses.rr_ip",
    ]


def test_names_given_twice() -> None:
    found = checked(service("web"), service("web"), service("WEB"))
    assert errors(found) == [
        "services[1].microservice_name: 'web.prod' is already the name of services[0]",
        "services[2].microservice_name: 'WEB.prod' differs only by case from 'web.prod' "
        "of services[0]",
    ]
    assert checked(service("web"), service("web", microservice_namespace="test")).ok
    twice = sla.parse(json.dumps(descriptor(application(), application(name="Shop"))))
    assert errors(twice) == [
        "applications[1].application_name: 'Shop.prod' differs only by case from 'shop.prod' "
        "of applications[0]"
    ]


def test_ports_published_twice() -> None:
    found = checked(
        service("a", port="80:80;53:53/udp"), service("b", port="80:8080;53:53"), service("c")
    )
    assert errors(found) == [
        "services[1].port: '80:8080;53:53' publishes 80/tcp, which services[0] publishes already"
    ]


def connected(target: str, **changes: Any) -> dict[str, Any]:
    return service("me", connectivity=[{"target_microservice_id": target}], **changes)


@pytest.mark.parametrize("target", ["web", "web.prod", "shop.prod.web.prod", "me"])
def test_targets_of_this_file(target: str) -> None:
    found = checked(connected(target), service("web"))
    assert errors(found) == []
    assert found.external == ()
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, {})
    name = "me" if target == "me" else "web"
    assert app.services[0].connectivity[0].target == f"shop.prod.{name}.prod"


def test_a_service_of_another_application_goes_by_its_full_name() -> None:
    found = checked(connected("other.prod.db.prod"))
    assert found.ok
    assert found.external == ("other.prod.db.prod",)


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("wbe", "names a service that is not there (did you mean `web`?)"),
        ("Web", "names a service that is not there (did you mean `web`?)"),
        ("web.test", "names a service that is not there (did you mean `web.prod`?)"),
        ("shop.prod.wob.prod", "names a service that is not there (did you mean `web`?)"),
        ("a.b.c", "is not SERVICE, SERVICE.NAMESPACE or a full job name"),
        ("a.b.c.", "is not a full job name: application.ns.service.ns"),
        (".web", "is not SERVICE, SERVICE.NAMESPACE or a full job name"),
    ],
)
def test_targets_that_are_not_there(target: str, fault: str) -> None:
    found = checked(connected(target), service("web"))
    path = "services[0].connectivity[0].target_microservice_id"
    assert errors(found) == [f"{path}: {target!r} {fault}"]


def test_the_own_namespace_decides_between_services_of_one_name() -> None:
    others = (service("web"), service("web", microservice_namespace="test"))
    found = checked(connected("web", microservice_namespace="test"), *others)
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, {})
    assert app.services[0].connectivity[0].target == "shop.prod.web.test"
    (fault,) = errors(checked(connected("web", microservice_namespace="dev"), *others))
    assert "names more than one service (one of web.prod, web.test)" in fault


def test_two_targets_cannot_share_a_variable() -> None:
    targets = [{"target_microservice_id": name} for name in ("web.prod", "web.test")]
    found = checked(
        service("me", connectivity=targets),
        service("web"),
        service("web", microservice_namespace="test"),
    )
    (fault,) = errors(found)
    assert "'web.test' and shop.prod.web.prod would both be OAKCTL_ADDR_WEB" in fault


def test_every_fault_is_named_not_only_the_first() -> None:
    tree = descriptor(
        application(
            service(vcpus=-1, port="x", addresses={"rr_ip": "1.1.1.1"}, memory="1"),
            connected("nobody", constraints=[{"type": "latency"}]),
            "not a service",
            service("a-b"),
        ),
        {"application_name": "x y"},
        sla_version="v1.0",
    )
    found = sla.parse(json.dumps(tree))
    assert [short(finding.path) for finding in found.errors] == [
        "sla_version",
        "services[0].memory",
        "services[0].vcpus",
        "services[0].port",
        "services[0].addresses.rr_ip",
        "services[2]",
        "services[3].microservice_name",
        "applications[1].application_name",
        "applications[1].application_namespace",
        "applications[1].microservices",
        "services[1].constraints[0].threshold",
        "services[1].constraints[0].area",
        "services[1].connectivity[0].target_microservice_id",
    ]


def test_other_versions_are_named() -> None:
    for version, words in (("v1.0", "v1.0 is deprecated"), ("v3.0", "is not v2.0")):
        (fault,) = errors(sla.parse(json.dumps(descriptor(sla_version=version))))
        assert fault.startswith(f"sla_version: {version!r} ")
        assert words in fault


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"vcpu": 1}, "vcpu: is not a known key (did you mean `vcpus`?)"),
        ({"bandwith_out": 1}, "bandwith_out: is not a known key (did you mean `bandwidth_out`?)"),
        (
            {"replicas": 2},
            "replicas: is not a known key (`replicas` belongs to the key `oakctl` of a "
            "microservice)",
        ),
        (
            {"rr_ip": "10.30.1.1"},
            "rr_ip: is not a known key (`rr_ip` belongs to `addresses` of a microservice)",
        ),
        (
            {"oakctl": {"memory": 1}},
            "oakctl.memory: is not a known key (`memory` belongs to a microservice)",
        ),
        (
            {"oakctl": {"metrics": {"port": 1, "pth": "/"}}},
            "oakctl.metrics.pth: is not a known key (did you mean `path`?)",
        ),
        ({"zzz": 1}, "zzz: is not a known key"),
        (
            {"virtualization": "banana"},
            "virtualization: 'banana' is not a runtime that is known; it waits for a worker that "
            "has it (known are container, docker, process, unikernel, crosvm)",
        ),
        (
            {"environment": ["A=1", "A=2"]},
            "environment[1]: 'A' is set twice; the last value is used",
        ),
        (
            {"environment": ["OAKCTL_BIND=1"]},
            "environment[0]: 'OAKCTL_BIND' is set by the worker; this value is not used",
        ),
        (
            {"added_files": ["https://x/y.jpg"]},
            "added_files[0]: https://x/y.jpg is a URL, and nothing is fetched from URLs: give "
            "./FILES:/PATH",
        ),
        (
            {"constraints": [{"type": "direct", "node": "a", "area": "b"}]},
            "constraints[0].area: is not used by a direct constraint",
        ),
    ],
)
def test_warnings(changes: dict[str, Any], warning: str) -> None:
    found = checked(service(**changes))
    assert found.ok
    assert warnings(found) == [f"services[0].{warning}"]


FULL_OF_GAPS = service(
    port="80:80",
    state="x",
    added_files=["y"],
    privileged=True,
    args=["z"],
    bandwidth_in=5,
    sla_violation_strategy="s",
    target_node="n",
    addresses={"rr_ip_v6": "fdff:2000::1", "instances": [{"from": 0, "to": 1}]},
    constraints=[
        {"type": "latency", "area": "a", "threshold": 1},
        {"type": "addons", "needs": ["a"]},
        {"type": "direct", "node": "a", "rigidness": 0.5},
        {"type": "direct", "node": "a"},
    ],
    connectivity=[
        {
            "target_microservice_id": "web",
            "con_constraints": [
                {"type": "latency", "threshold": 1, "rigidness": 1, "convergence_time": 1}
            ],
        }
    ],
    oakctl={
        "volumes": ["data:/data"],
        "devices": ["/dev/video0"],
        "capabilities": ["NET_ADMIN"],
        "read_only": True,
    },
    virtualization="process",
    code="./folder",
)


def test_what_is_not_enforced_is_a_warning_and_goes_with_the_service() -> None:
    found = checked(FULL_OF_GAPS)
    assert [short(finding.path).removeprefix("services[0].") for finding in found.warnings] == [
        "constraints[0]",
        "constraints[1]",
        "constraints[2]",
        "connectivity[0].con_constraints",
        "bandwidth_in",
        "addresses.rr_ip_v6",
        "addresses.instances",
        "state",
        "added_files",
        "oakctl.volumes",
        "oakctl.devices",
        "oakctl.capabilities",
        "oakctl.read_only",
        "privileged",
        "args",
        "sla_violation_strategy",
        "target_node",
    ]
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, {"./folder": "a" * 64})
    assert app.services[0].not_enforced == tuple(finding.message for finding in found.warnings)
