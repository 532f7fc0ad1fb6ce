"""Docker from the distribution: whether, which packages, and what is left of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.lab.machines import recipe
from oakctl.model import wire
from oakctl.orchestration.worker.docker.housekeeping import Brought, Ledger
from oakctl.remote import changes, docker_install, packages, playbook
from oakctl.remote.devices import playbooks_for
from oakctl.remote.equipment import CommandLine, Control, Docker
from oakctl.remote.facts import HostFacts
from oakctl.remote.residence import Homeless, Residence
from tests.lab import snapshot
from tests.playbooks import real_host
from tests.playbooks.real_host import RealHost, archive_for, steps
from tests.remote.here import Here

SYSTEM = Residence("systemd", "/opt/oakctl", True, "because")
USER = Residence("systemd --user", "/home/anna/.oakctl", False, "because")


# --- pure ---


def test_a_host_gets_the_playbooks_of_what_it_is() -> None:
    pi = HostFacts(command_line=CommandLine("/boot/firmware/cmdline.txt", 1, "quiet"))
    jetson = HostFacts(l4t="36.4.3", docker=Docker(True), control=Control("v2", True))
    assert playbooks_for(HostFacts(), SYSTEM, docker=False) == ()
    assert playbooks_for(HostFacts(), SYSTEM, docker=True) == ("docker",)
    assert playbooks_for(pi, SYSTEM, docker=True) == ("raspberry_pi", "docker")
    assert playbooks_for(jetson, SYSTEM, docker=False) == ("jetson",)
    # Nothing of the system is changed by who may not; asked for, Docker is refused in words.
    assert playbooks_for(pi, USER, docker=False) == ()
    assert playbooks_for(jetson, Homeless("no", "way"), docker=True) == ("docker",)


def test_what_cannot_have_docker_is_told_why() -> None:
    """Facts of a Raspberry Pi Zero with Raspbian (docker/docs#24824)."""
    zero = HostFacts(architecture="armv6l", kernel="armv6l", distribution="raspbian")
    refused = docker_install.refusal(zero, as_root=True)
    assert refused is not None
    assert "ARMv6" in refused.reason
    assert docker_install.refusal(HostFacts(architecture="armv7l"), as_root=True) is None
    assert docker_install.refusal(HostFacts(architecture="x86_64"), as_root=False) is not None


def test_the_client_is_a_package_of_its_own_since_debian_13() -> None:
    assert docker_install.packages(["docker.io", "docker-cli"]) == ["docker.io", "docker-cli"]
    assert docker_install.packages(["docker.io"]) == ["docker.io"]
    assert docker_install.packages(["docker-cli"]) == []


SIMULATED = """\
NOTE: This is only a simulation!
Inst libc6 [2.36-9] (2.36-9+deb12u9 Debian:12.9/stable [amd64]) []
Inst runc (1.1.5+ds1-1+deb12u1 Debian:12.9/stable [amd64])
Inst docker.io (20.10.24+dfsg1-1+deb12u1 Debian:12.9/stable [amd64])
Conf runc (1.1.5+ds1-1+deb12u1 Debian:12.9/stable [amd64])
Purg tini [0.19.0-1]
Remv iptables [1.8.9-2]
"""


def test_what_apt_would_do_is_read() -> None:
    # What is upgraded was there before: it is not ours to take away.
    assert packages.added_by(SIMULATED) == ["runc", "docker.io"]
    assert packages.removed_by(SIMULATED) == ["tini", "iptables"]


names = st.text("abcdef/-_", min_size=1, max_size=8)
labels = st.one_of(st.none(), st.dictionaries(names, names, max_size=2))


@given(st.lists(st.tuples(names, labels, st.booleans(), st.booleans()), max_size=6))
def test_what_others_have_in_the_engine_is_found(
    things: list[tuple[str, dict[str, str] | None, bool, bool]],
) -> None:
    containers, volumes, foreign = [], [], []
    for at, (name, plain, ours, is_container) in enumerate(things):
        marked = {**(plain or {}), f"{docker_install.LABELS}cluster": "x"} if ours else plain
        if is_container:
            containers.append({"Name": f"/{name}{at}", "Config": {"Labels": marked}})
        else:
            volumes.append({"Name": f"{name}{at}", "Labels": marked})
        if not ours:
            kind = "container" if is_container else "volume"
            foreign.append(f"{kind} {f'{name}{at}'.lstrip('/')}")
    texts = [json.dumps(each, indent=4) for each in (containers, volumes) if each]
    assert sorted(docker_install.not_ours("\n".join(texts))) == sorted(foreign)


def test_images_of_others_are_told_from_ours() -> None:
    pushed = {"Id": "sha256:1", "RepoTags": ["oakctl.invalid/pushed:ab"], "Config": {}}
    built = {"Id": "sha256:2", "RepoTags": ["theirs:1", "oakctl.invalid/pushed:ab"], "Config": None}
    unnamed = {"Id": "sha256:3", "RepoTags": [], "RepoDigests": []}
    # Its name went on to another image: it can be had again, by whoever wants it.
    outdated = {"Id": "sha256:4", "RepoTags": [], "RepoDigests": ["alpine@sha256:5"]}
    found = docker_install.not_ours(json.dumps([pushed, built, unnamed, outdated]))
    assert found == ["image theirs:1", "image sha256:3"]
    assert docker_install.strangers("moby\nk8s.io\n") == ["containerd's k8s.io"]
    assert docker_install.named([str(n) for n in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


@pytest.mark.parametrize("refused", ["ps", "volume", "images", "inspect"])
def test_an_engine_that_does_not_answer_is_not_an_empty_one(tmp_path: Path, refused: str) -> None:
    """`docker ps -q | xargs …` ends with 0 and without a word when the engine is down."""
    here = Here(tmp_path)
    here.put_program("docker", f'[ "$1" != {refused} ] || {{ echo down >&2; exit 1; }}; echo x')
    assert here.root(docker_install.SHOW, check=False).exit_code != 0


# --- on a host ---

CHANGES = "/opt/oakctl/changes.json"
RECORD = f"cat {CHANGES}"
LEDGER = "/opt/oakctl/state/agent/images.json"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with real_host.real_host("dvdo", tmp_path_factory.mktemp("docker")) as made:
        # What the lab gives hosts that have Docker from the start: /proc/sys can be written.
        body = recipe._DOCKER_PREPARE.decode()
        made.put("/usr/local/sbin/lab-docker-prepare", body, "755")
        drop_in = recipe._DOCKER_DROP_IN.decode()
        made.put("/etc/systemd/system/docker.service.d/lab.conf", drop_in)
        with archive_for(made):
            made.shell("apt-get -q update")
            yield made


@pytest.fixture
def own_directories(host: RealHost) -> None:
    """In place of directories for each test: the host is one for all of them."""


@real_host.on_a_real_host
def test_docker_comes_and_goes(host: RealHost, own_directories: None) -> None:
    before = host.picture()
    told = host.run(steps("docker"))
    assert all(said.startswith(("done", "skipped: holds")) for said in told.values()), told
    assert host.shell("docker info --format '{{.ServerVersion}}'")
    assert host.shell("id -Gn oak").split().count("docker") == 0
    assert set(host.run(steps("docker")).values()) == {"skipped: holds already"}
    with host.held() as remote:
        assert "docker.io" in changes.read(remote)["docker"]["packages"]

    told = host.run(steps("uninstall"))
    assert "docker: Docker is gone" in told["uninstall: the host as it was"]
    kept = {"file /usr/local/sbin.*": "the lab's", "file /etc/systemd/system/docker.*": "the lab's"}
    assert list(map(str, snapshot.difference(before, host.picture(), kept=kept))) == []


@real_host.on_a_real_host
def test_it_stays_where_somebody_uses_it(host: RealHost, own_directories: None) -> None:
    host.run(steps("docker"))
    host.shell("docker volume create photos; tar -C /etc -c hostname | docker import - theirs:1")
    noted = host.shell(RECORD)
    host.shell("systemctl stop docker.socket docker.service")
    told = host.run(steps("uninstall"))["uninstall: the host as it was"]
    assert "it does not answer, and has volumes, images on the disk" in told
    host.shell("systemctl start docker.service")

    for other, gone in (("volume photos", "docker volume rm photos"), ("image theirs:1", "true")):
        host.shell(f"mkdir -p /opt/oakctl; cat >{CHANGES}", noted.encode())
        told = host.run(steps("uninstall"))["uninstall: the host as it was"]
        assert other in told
        host.shell(gone)
    assert host.shell("docker images --format '{{.Repository}}'") == "theirs"

    # Of the images that a worker brought, those go whose name is still theirs.
    host.shell("docker tag theirs:1 ours:1; docker tag theirs:1 ours:2")
    known = host.shell("docker image inspect -f '{{.Id}}' theirs:1")
    brought = (Brought("ours:1", known), Brought("ours:2", "sha256:another"), Brought("no:1", "x"))
    host.shell(f"mkdir -p $(dirname {LEDGER}); cat >{LEDGER}", wire.encode(Ledger(brought)))
    step = playbook.load("uninstall").images()
    assert host.run([step])[step.title].startswith("done")
    assert host.run([step])[step.title].startswith("skipped")
    assert host.shell("docker images --format '{{.Repository}}:{{.Tag}}' | sort") == (
        "ours:2\ntheirs:1"
    )
    host.shell("rm -r /opt/oakctl")
    # From now on it is like any other engine that was there before.
    told = host.run(steps("docker"))
    assert told["docker: the distribution's engine"] == "skipped: it is there, and is not touched"
