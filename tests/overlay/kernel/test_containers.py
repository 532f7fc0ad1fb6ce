"""Containers of a real Docker Engine in the kernel overlay, beside that engine's own rules."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model.instance import DesiredInstance
from tests.worker.docker_engine import IMAGE, START_S, DockerEngine, installed

from .agents import FIRST, SECOND, agent_on, answers, instance, until
from .nodes import RR, end

pytestmark = pytest.mark.slow


class Engine(DockerEngine):
    """One on host a of a lab, with its usual bridge and its usual rules."""

    def run(self, lab: NamespaceLab) -> None:
        """Start it, and wait until it answers."""
        address = str(self.folder / "containerd.sock")
        self.containerd = self._on(
            lab,
            *("containerd", "--config", "/dev/null", "--root", str(self.folder / "images")),
            *("--state", str(self.folder / "state"), "--address", address),
        )
        self.process = self._on(
            lab,
            *("dockerd", "--containerd", address, "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("-H", f"unix://{self.socket}"),
        )
        until_ = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < until_, "waited in vain for dockerd to answer"
            time.sleep(0.1)

    def _on(self, lab: NamespaceLab, *words: str):  # type: ignore[no-untyped-def]
        line = f"exec {shlex.join(words)} >>{self.folder}/log 2>&1"
        return lab.spawn("a", ("sh", "-c", line))


@pytest.fixture
def engine(lab: NamespaceLab) -> Iterator[Engine]:
    """With one image; it ends with its host's processes."""
    if why := installed():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="oakctl-docker-", dir="/var/tmp"))
    made = Engine(folder, 0)
    try:
        made.run(lab)
        made.import_image()
        yield made
        made.clean()
    finally:
        for process in (made.process, made.containerd):
            if process is not None:
                process.terminate()
                process.wait(timeout=60)
                end(process)
        for mount in reversed(lab.run("a", ("cat", "/proc/self/mountinfo")).splitlines()):
            if str(folder) in mount.split()[4]:
                lab.run("a", ("umount", "--lazy", mount.split()[4]))
        lab.run("a", ("sh", "-c", "iptables -F; iptables -P FORWARD ACCEPT; ip link del docker0"))
        lab.run("a", ("nft", "flush", "ruleset"))
        shutil.rmtree(folder)


def container(address: str, number: int) -> DesiredInstance:
    serve = ("nc", "-ll", "-p", "7000", "-e", "/bin/sh", "-c", f"read line; echo c{number}")
    return instance(
        address, number, virtualization="container", code=IMAGE, cmd=serve, pull="never"
    )


def test_containers_have_overlay_addresses_beside_dockers_own_rules(
    lab: NamespaceLab, engine: Engine
) -> None:
    rules = lab.run("a", ("iptables", "-S"))
    assert "-P FORWARD DROP" in rules
    with agent_on(lab, str(engine.socket)) as agent:
        agent.told(container(FIRST, 0), container(SECOND, 1))
        agent.start()
        until(lab, {"c0", "c1"})
        assert answers(lab, "b", FIRST, 1) == {"c0"}  # forwarded
        assert answers(lab, "b", lab.address("a"), 1, 8080) == {"c0"}
        inside = [c for c in engine.client.containers() if c["Names"][0].endswith("instance.0.1.1")]
        command = engine.client.exec_create(
            inside[0]["Id"], ["sh", "-c", f"nc {RR} 7000 </dev/null"]
        )
        assert engine.client.exec_start(command["Id"]).strip() in (b"c0", b"c1")
        agent.kill()
        assert answers(lab, "a", RR, 20) == {"c0", "c1"}
        agent.told(container(FIRST, 0))
        agent.start()
        until(lab, {"c0"})
    assert lab.run("a", ("iptables", "-S")) == rules
    assert "oakctl" not in lab.run("a", ("nft", "list", "tables"))
