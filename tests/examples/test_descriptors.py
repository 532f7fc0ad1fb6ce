"""The descriptors in examples/: accepted without a warning, packed, and able to run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from oakctl import sla
from oakctl.client.artifact import PackedArtifact, resolve
from oakctl.model.service import Port, ServiceSpec
from oakctl.orchestration.worker.unpack import unpack

from .pipeline import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"


def services(
    descriptor: Path, cache: Path
) -> tuple[dict[str, ServiceSpec], dict[str, PackedArtifact]]:
    """The services of a file by name, and its artifacts by sha256."""
    found = sla.parse(descriptor.read_bytes())
    assert found.findings == ()
    assert found.descriptor is not None
    packed = {
        reference: resolve(reference, descriptor.parent, cache)
        for reference in found.artifact_references()
    }
    (app,) = sla.convert(found.descriptor, {ref: one.sha256 for ref, one in packed.items()})
    return {spec.name: spec for spec in app.services}, {one.sha256: one for one in packed.values()}


def unpacked(artifact: PackedArtifact, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    unpack(artifact.path, str(folder), lambda share: None)
    return folder


@pytest.mark.slow
def test_the_ar_application_is_one_artifact_with_all_it_needs(tmp_path: Path) -> None:
    found, artifacts = services(EXAMPLES / "ar" / "ar.yaml", tmp_path / "cache")
    assert list(found) == ["Pre", "Obj", "Rec", "Client"]
    assert {spec.code for spec in found.values()} == set(artifacts)
    assert len(artifacts) == 1
    assert {name: spec.requests.vgpus for name, spec in found.items() if spec.requests.vgpus} == {
        "Rec": 1
    }
    assert all(0 < spec.requests.vcpus < 1 for spec in found.values())
    assert all(spec.metrics and spec.metrics.port == 9100 for spec in found.values())
    assert [spec.connectivity[0].target for spec in found.values() if spec.connectivity] == [
        "ar.demo.Obj.demo",
        "ar.demo.Rec.demo",
        "ar.demo.Pre.demo",
    ]
    assert found["Obj"].listen == (Port(50101, 0, "udp"),)
    (artifact,) = artifacts.values()
    host = unpacked(artifact, tmp_path / "host")
    # Without this Python's packages: NumPy came with the artifact.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import numpy, ar.labels as l; l.Labeller()"
    subprocess.run(
        [sys.executable, "-S", "-E", "-B", "-c", code, str(host)], check=True, timeout=60
    )


def test_the_ar_application_in_containers_is_the_same_pipeline(tmp_path: Path) -> None:
    found, artifacts = services(EXAMPLES / "ar" / "ar-container.yaml", tmp_path / "cache")
    boxed, _ = services(EXAMPLES / "ar" / "ar.yaml", tmp_path / "cache")
    assert artifacts == {}
    assert {spec.code for spec in found.values()} == {"local/ar:1"}
    for name, spec in found.items():
        assert (spec.cmd, spec.listen, spec.ready) == (
            boxed[name].cmd, boxed[name].listen, boxed[name].ready,
        )  # fmt: skip


def test_hello_answers(tmp_path: Path) -> None:
    found, artifacts = services(EXAMPLES / "hello.yaml", tmp_path / "cache")
    artifact = artifacts[found["Web"].code]
    host = unpacked(artifact, tmp_path / "host")
    command = [
        part.format(python=sys.executable, artifact=host) for part in artifact.manifest.command
    ]
    address = f"127.{random.randrange(2, 250)}.7.{random.randrange(1, 250)}"
    instance = "hello.demo.Web.demo.instance.0"
    environment = {
        "PATH": os.environ["PATH"],
        "OAKCTL_BIND": address,
        "OAKCTL_INSTANCE": instance,
    }
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        answers = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
                    answers.append(answer.read().decode())
            except urllib.error.URLError:
                assert process.poll() is None
            return bool(answers)

        try:
            wait_for("hello to answer", answered)
        finally:
            process.terminate()
        assert process.wait(20) == 0
    assert answers == [f"hello from {instance}\n"]
