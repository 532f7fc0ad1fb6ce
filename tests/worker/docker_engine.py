"""A real Docker Engine for tests, with a socket, a data directory and a bridge of its own.

Belongs here: starting it, breaking it, and taking all of it away. It changes nothing of the
machine's firewall: ports are published by Docker's own proxy. Without the distribution's package
`docker.io` (installed here, as root) or without root there is none, and tests say so.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import docker
import pytest

from tests.waiting import until_now

START_S = 60.0
PROGRAMS = ("dockerd", "containerd", "docker")
PACKAGES = ("docker.io", "busybox-static")
CLIENT = "docker-cli"
IMAGE = "oakctl-test:busybox"


@cache
def installed() -> str:
    """Why there can be no engine here; empty: there is all that one needs.

    What is lacking is installed, so this is for fixtures: a mark that asks at collection would
    either install for tests that nobody runs, or skip what could run.
    """
    if os.geteuid() != 0:
        return "a Docker Engine of its own needs root"
    if all(map(shutil.which, PROGRAMS)) and _static(busybox()):
        return ""
    if not shutil.which("apt-get"):
        return f"{', '.join(PROGRAMS)} and a static busybox are not all installed"
    failed = _apt("update") or _apt("install", *PACKAGES)
    if not failed and not shutil.which("docker"):  # a package of its own in newer releases
        failed = _apt("install", CLIENT)
    return failed


def _apt(*words: str) -> str:
    """What went wrong; empty: nothing did."""
    options = ("-q", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ("apt-get", *options, *words)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return f"{' '.join(command)} failed: {done.stderr[-300:]}" if done.returncode else ""


def busybox() -> Path:
    """A busybox that needs no libraries, once `installed` has said that there is one."""
    return Path("/bin/busybox")


def _static(program: Path) -> bool:
    """Whether it is there and names no loader; `busybox` without `-static` does."""
    return program.exists() and b"/ld-" not in program.read_bytes()[:4096]


@dataclass
class DockerEngine:
    """One dockerd."""

    folder: Path
    number: int
    process: subprocess.Popen[bytes] | None = None
    containerd: subprocess.Popen[bytes] | None = None
    clients: list[docker.APIClient] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "docker.sock"

    @property
    def bridge(self) -> str:
        """The name of its bridge."""
        return f"oakt{self.number}"

    def start(self) -> None:
        """Start it, and wait until it answers. containerd is apart, as the distribution has it."""
        address = str(self.folder / "containerd.sock")
        if self.containerd is None:
            self.containerd = self._spawn(
                "containerd",
                *("--config", "/dev/null", "--root", str(self.folder / "images")),
                *("--state", str(self.folder / "state"), "--address", address),
            )
        self.process = self._spawn(
            "dockerd",
            *("--containerd", address, "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("-H", f"unix://{self.socket}", "--bridge", self.bridge),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
        )
        until_now("dockerd to answer", self._is_up, wait_s=START_S, step_s=0.1)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return self.answers()

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as output:
            return subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)

    def answers(self) -> bool:
        """Whether it does."""
        try:
            client = docker.APIClient(base_url=f"unix://{self.socket}", timeout=10)
        except docker.errors.DockerException:
            return False
        with contextlib.closing(client):
            return bool(client.ping())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End dockerd; containers end with it when it is asked politely."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.process = None

    @property
    def client(self) -> docker.APIClient:
        """A client of its own for assertions."""
        made = docker.APIClient(base_url=f"unix://{self.socket}", timeout=30)
        self.clients.append(made)
        return made

    def import_image(self, name: str = IMAGE, files: dict[str, str] | None = None) -> None:
        """An image without a registry: busybox, its links, and these scripts."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(busybox(), "bin/busybox")
            for tool in ("sh", "sleep", "cat", "id", "echo", "ls", "touch", "httpd", "nc", "kill"):
                link = tarfile.TarInfo(f"bin/{tool}")
                link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
                archive.addfile(link)
            for path in ("tmp", "data", "www"):
                folder = tarfile.TarInfo(path)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o777
                archive.addfile(folder)
            for path, text in (files or {}).items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text.encode()))
        repository, _, tag = name.rpartition(":")
        self.client.import_image_from_data(buffer.getvalue(), repository=repository, tag=tag)

    def load_image(self, name: str, architecture: str) -> None:
        """An image with nothing in it, for this kind of processor, as `docker save` writes it."""
        empty = io.BytesIO()
        with tarfile.open(fileobj=empty, mode="w"):
            pass
        layer = empty.getvalue()
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, content in (
                ("layer.tar", layer),
                ("config.json", json.dumps(config).encode()),
                ("manifest.json", json.dumps(manifest).encode()),
            ):
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        for line in self.client.load_image(buffer.getvalue()):
            assert "error" not in line, line

    def clean(self) -> None:
        """Away with every container."""
        client = self.client
        for one in client.containers(all=True):
            with contextlib.suppress(docker.errors.APIError):
                client.remove_container(one["Id"], force=True, v=True)
        for made in self.clients:
            made.close()
        self.clients.clear()


@contextlib.contextmanager
def engine(disk_mb: int = 0) -> Iterator[DockerEngine]:
    """A running engine with one image; nothing is left of it afterwards.

    With `disk_mb` its data directory is a disk of its own, and a small one.
    """
    missing = installed()
    if missing:
        pytest.skip(missing)
    number = os.getpid() % 100 + (110 if disk_mb else 10)
    folder = Path(tempfile.mkdtemp(prefix="oakctl-docker-", dir="/var/tmp"))
    made = DockerEngine(folder, number)
    _ip("link", "add", made.bridge, "type", "bridge")
    try:
        _ip("addr", "add", f"172.29.{number}.1/24", "dev", made.bridge)
        _ip("link", "set", made.bridge, "up")
        if disk_mb:
            (folder / "data").mkdir()
            options = ("-o", f"size={disk_mb}m", "disk", str(folder / "data"))
            subprocess.run(("mount", "-t", "tmpfs", *options), check=True)
        made.start()
        made.import_image()
        yield made
    finally:
        if made.process is not None:
            with contextlib.suppress(docker.errors.DockerException):
                made.clean()
            made.stop()
        if made.containerd is not None:
            made.containerd.terminate()
            made.containerd.wait(timeout=60)
        _ip("link", "del", made.bridge)
        _unmount(folder)
        shutil.rmtree(folder)


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(str(folder))), reverse=True):
        subprocess.run(("umount", "-l", mount), check=False, capture_output=True)
