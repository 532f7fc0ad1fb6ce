"""What a descriptor says of containers, on its way to the model."""

from __future__ import annotations

import pytest

from oakctl import sla
from oakctl.model.service import AddedFiles, ServiceSpec, Volume
from oakctl.sla import fields

from .build import checked, service

SHA = "b" * 64


def converted(artifacts: dict[str, str], **changes: object) -> ServiceSpec:
    found = checked(service(virtualization="container", code="web:1", **changes))
    assert found.findings == ()
    assert found.descriptor is not None
    (app,) = sla.convert(found.descriptor, artifacts)
    return app.services[0]


def test_every_field_reaches_the_model() -> None:
    spec = converted(
        {"./site": SHA},
        added_files=["./site:/www", f"sha256:{'c' * 64}:/models/"],
        privileged=True,
        oakctl={
            "volumes": ["data:/var/lib/web", "/srv/models:/m:ro"],
            "devices": ["/dev/video0"],
            "capabilities": ["cap_net_admin", "SYS_TIME"],
            "read_only": True,
            "pull": "always",
        },
    )
    assert spec.added_files == (AddedFiles(SHA, "/www"), AddedFiles("c" * 64, "/models"))
    assert spec.volumes == (
        Volume("data", "/var/lib/web"),
        Volume("/srv/models", "/m", read_only=True),
    )
    assert (spec.devices, spec.capabilities) == (("/dev/video0",), ("NET_ADMIN", "SYS_TIME"))
    assert spec.privileged
    assert spec.read_only
    assert spec.pull == "always"
    assert spec.not_enforced == ()


def test_what_has_to_be_uploaded() -> None:
    found = checked(
        service(
            virtualization="docker",
            added_files=[
                "./site:/www",
                "x.tar.gz:/x",
                f"sha256:{SHA}:/y",
                "./site:/z",
                "http://x/y",
            ],
        )
    )
    assert found.file_references() == found.artifact_references() == ("./site", "x.tar.gz")
    process = checked(service(virtualization="process", code="./app", added_files=["anything"]))
    assert process.file_references() == ()
    assert process.artifact_references() == ("./app",)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:b", "a:/", ":/x", "a b:/x", "/a:/x:rx", "a:/x:ro:ro", "a:/x/../y", "../a:/x"],
)
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|where an absolute path"):
        fields.volume(text)


@pytest.mark.parametrize("text", ["", "/x", ":/x", "./a", "./a:x", "http://x/y:/z", "sha256:1:/x"])
def test_what_are_no_added_files(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        fields.added_files(text)
