"""Debian's docker-registry with a login, on this machine's loopback.

Belongs here: the real program, from its package without installing it, so that no service of it is
left on the machine. Does not belong here: the small registry without a login (`image_registry`).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.bus_fixture import free_port
from tests.waiting import until_now
from tests.worker.docker_engine import DockerEngine

START_S = 60.0
USER, PASSWORD = "puller", "planted-for-a-registry-31fe"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}/images"}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}
"""


@dataclass(frozen=True)
class LoginRegistry:
    """One that asks for USER and PASSWORD; `address` goes before a name."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    def put(self, engine: DockerEngine, image: str, name: str) -> str:
        """Push an image that the engine has; it is not there under that name afterwards."""
        reference = f"{self.address}/{name}"
        client = engine.client
        repository, _, tag = reference.rpartition(":")
        client.tag(image, repository, tag)
        credentials = {"username": USER, "password": PASSWORD}
        for line in client.push(repository, tag, stream=True, decode=True, auth_config=credentials):
            assert "error" not in line, line
        client.remove_image(reference)
        return reference

    def put_index(self, reference: str, name: str, architecture: str) -> str:
        """An index whose only image is that of `reference`, said to be for `architecture`."""
        repository, _, tag = reference.removeprefix(f"{self.address}/").rpartition(":")
        with self._ask("GET", f"{repository}/manifests/{tag}", accept=MANIFEST) as answer:
            body = answer.read()
        described = {
            "mediaType": MANIFEST,
            "size": len(body),
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
            "platform": {"architecture": architecture, "os": "linux"},
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}
        content = json.dumps(index).encode()
        self._ask("PUT", f"{repository}/manifests/{name}", content, INDEX).close()
        return f"{self.address}/{repository}:{name}"

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "", accept: str = "*/*"
    ) -> Any:
        proof = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {proof}", "Accept": accept, "Content-Type": kind}
        request = urllib.request.Request(
            f"http://{self.address}/v2/{path}", body, headers, method=method
        )
        return urllib.request.urlopen(request, timeout=30)


def program(folder: Path) -> Path:
    """docker-registry, the machine's or out of its package; skips where there is none."""
    found = shutil.which("docker-registry")
    if found:
        return Path(found)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        pytest.skip("docker-registry is not installed, and only root with apt-get can fetch it")
    for command in (
        ("apt-get", "-q", "update"),
        ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "docker-registry"),
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"docker-registry cannot be fetched: {done.stderr[-200:]}")
    (package,) = folder.glob("docker-registry_*.deb")
    subprocess.run(("dpkg", "-x", package, folder / "package"), check=True)
    return folder / "package/usr/bin/docker-registry"


@contextlib.contextmanager
def login_registry() -> Iterator[LoginRegistry]:
    """One that serves until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-registry-", dir="/var/tmp"))
    try:
        with _running(LoginRegistry(folder, free_port())) as made:
            yield made
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _running(made: LoginRegistry) -> Iterator[LoginRegistry]:
    folder = made.folder
    binary = program(folder)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2b")).decode()
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=made.port))
    with (folder / "log").open("ab") as output:
        process = subprocess.Popen(
            (binary, "serve", folder / "config.yml"), stdout=output, stderr=output
        )
    try:

        def is_up() -> bool:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            return _asks(made)

        until_now("the registry to answer", is_up, wait_s=START_S, step_s=0.1)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=30)


def _asks(made: LoginRegistry) -> bool:
    """Whether it answers, and refuses who does not say who it is."""
    try:
        urllib.request.urlopen(f"http://{made.address}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False
    raise AssertionError("the registry asks for no login")
