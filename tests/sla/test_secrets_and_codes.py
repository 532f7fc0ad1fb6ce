"""Secrets of a service, and code for several architectures, on their way to the model."""

from __future__ import annotations

from typing import Any

import pytest

from oakctl import sla
from oakctl.model.secrets import ENV, SecretUse
from oakctl.model.service import Code, ServiceSpec

from .build import checked, errors, service, warnings

SHA, OTHER = "b" * 64, "c" * 64


def converted(artifacts: dict[str, str], **changes: object) -> ServiceSpec:
    found = checked(service(**changes))
    assert found.findings == ()
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, artifacts)
    return app.services[0]


def test_secrets_in_their_short_and_long_forms() -> None:
    spec = converted(
        {},
        oakctl={
            "secrets": [
                "db-password",
                {"name": "cert.pem", "target": "/etc/tls/cert.pem"},
                {"name": "api-key", "as": "env"},
                {"name": "db-password", "as": "env", "target": "PGPASSWORD"},
            ]
        },
    )
    assert spec.secrets == (
        SecretUse("db-password", "db-password"),
        SecretUse("cert.pem", "/etc/tls/cert.pem"),
        SecretUse("api-key", "API_KEY", ENV),
        SecretUse("db-password", "PGPASSWORD", ENV),
    )
    assert [use.path for use in spec.secrets[:2]] == [
        "/run/secrets/db-password",
        "/etc/tls/cert.pem",
    ]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"oakctl": {"secrets": ["../x"]}}, "services[0].oakctl.secrets[0].name: '../x' is not "),
        ({"oakctl": {"secrets": [{"name": "a", "as": "arg"}]}}, "'arg' is not file or env"),
        ({"oakctl": {"secrets": [{"name": "a", "target": "../b"}]}}, "the name of a file or an "),
        ({"oakctl": {"secrets": [{"name": "a", "target": "/x/../b"}]}}, "an absolute path below /"),
        ({"oakctl": {"secrets": [{"name": "1a", "as": "env"}]}}, "the name of a variable belongs"),
        (
            {"oakctl": {"secrets": [{"name": "a", "as": "env", "target": "OAKCTL_BIND"}]}},
            "is set by the worker",
        ),
        (
            {"oakctl": {"secrets": [{"name": "a", "as": "env"}]}, "environment": ["A=1"]},
            "'A' is set in `environment` too",
        ),
        (
            {"oakctl": {"secrets": [{"name": "a", "as": "env"}, {"name": "A", "as": "env"}]}},
            "services[0].oakctl.secrets[1]: 'A' is another secret's variable already",
        ),
        (
            {"oakctl": {"secrets": ["a", {"name": "b", "target": "a"}]}},
            "mounts at /run/secrets/a, where another is already",
        ),
        (
            {"oakctl": {"secrets": ["a"], "volumes": ["v:/run/secrets/a"]}},
            "mounts at /run/secrets/a, where another is already",
        ),
        (
            {
                "virtualization": "process",
                "code": f"sha256:{SHA}",
                "oakctl": {"secrets": [{"name": "a", "target": "/etc/a"}]},
            },
            "is a path, and a process shares its host's files",
        ),
        (
            {"virtualization": "unikernel", "arch": ["amd64"], "oakctl": {"secrets": ["a"]}},
            "a unikernel takes no secrets",
        ),
    ],
)
def test_where_a_secret_cannot_go(changes: dict[str, Any], fault: str) -> None:
    found = errors(checked(service(**changes)))
    assert len(found) == 1, found
    assert fault in found[0]


def test_code_for_each_architecture_decides_where_it_runs() -> None:
    spec = converted({}, code=None, oakctl={"code": {"amd64": "web:1", "arm64": "web:1-arm"}})
    assert spec.codes == (Code("x86_64", "web:1"), Code("aarch64", "web:1-arm"))
    assert spec.architectures == ("x86_64", "aarch64")
    on = spec.on("aarch64")
    assert (on.code, on.codes) == ("web:1-arm", ())
    assert spec.on("riscv64") == spec
    narrowed = converted(
        {}, code=None, arch=["arm64"], oakctl={"code": {"amd64": "a:1", "arm64": "b:1"}}
    )
    assert narrowed.architectures == ("aarch64",)


def test_every_architecture_of_a_process_has_an_artifact() -> None:
    changes: dict[str, Any] = {
        "virtualization": "process",
        "code": None,
        "oakctl": {"code": {"x86_64": "./pc", "aarch64": "./pi"}},
    }
    assert checked(service(**changes)).artifact_references() == ("./pc", "./pi")
    spec = converted({"./pc": SHA, "./pi": OTHER}, **changes)
    assert spec.artifacts == (SHA, OTHER)
    assert spec.on("aarch64").artifacts == (OTHER,)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"code": None}, "services[0].code: is missing"),
        ({"code": None, "oakctl": {"code": {}}}, "services[0].oakctl.code: {} is empty"),
        (
            {"code": None, "oakctl": {"code": {"amd64": "a", "x86_64": "b"}}},
            "has x86_64 twice: it is x86_64",
        ),
        ({"code": None, "oakctl": {"code": {"amd64": " "}}}, "has no code for amd64"),
        ({"code": None, "oakctl": {"code": {"a/b": "x"}}}, "where an architecture belongs"),
        (
            {"code": None, "arch": ["riscv64"], "oakctl": {"code": {"amd64": "a"}}},
            "services[0].arch[0]: 'riscv64' has no code: oakctl.code has some for x86_64",
        ),
        (
            {
                "code": None,
                "virtualization": "process",
                "oakctl": {"code": {"amd64": "https://x/y"}},
            },
            "services[0].oakctl.code.amd64: 'https://x/y' is not ./FOLDER",
        ),
    ],
)
def test_what_is_wrong_with_code(changes: dict[str, Any], fault: str) -> None:
    found = errors(checked(service(**changes)))
    assert len(found) == 1, found
    assert fault in found[0]


def test_code_beside_the_mapping_is_told_to_be_of_no_use() -> None:
    found = checked(service(code="web:1", oakctl={"code": {"amd64": "web:2"}}))
    assert found.ok
    assert "'web:1' is not used" in warnings(found)[0]
    same = checked(service(code="web:2", oakctl={"code": {"amd64": "web:2"}}))
    assert same.findings == ()
