"""Jetson: Docker's configuration with the NVIDIA runtime, and what is said of the kernel.

No test machine is a Jetson. Facts are written from reports that are cited; on the host, files that
make it look like one and a stand-in for Docker, which reads the real daemon.json, take its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.remote import jetson, preflight
from oakctl.remote.equipment import Docker, Network
from oakctl.remote.facts import HostFacts
from tests.playbooks import real_host
from tests.playbooks.real_host import RealHost, steps

PATH = "/usr/bin/nvidia-container-runtime"

# --- pure ---

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
runtimes = st.dictionaries(st.sampled_from(["runc", "crun", "kata"]), st.just({"path": "x"}))
configurations = st.dictionaries(
    st.text(max_size=8).filter(lambda key: key != "runtimes"), values, max_size=4
).flatmap(lambda rest: st.one_of(st.just(rest), runtimes.map(lambda r: {**rest, "runtimes": r})))


@given(configurations)
def test_nothing_but_the_runtime_changes_and_it_goes_again(before: dict[str, object]) -> None:
    text = json.dumps(before)
    after = json.loads(jetson.with_runtime(text, PATH))
    assert after["runtimes"].pop("nvidia") == {"path": PATH, "runtimeArgs": []}
    assert after == {**before, "runtimes": before.get("runtimes", {})}
    once = jetson.with_runtime(text, PATH)
    assert jetson.with_runtime(once, PATH) == once
    left = jetson.without_runtime(once, PATH)
    rest = json.loads(left) if left else {}
    assert {**rest, "runtimes": rest.get("runtimes", {})} == after


def test_what_somebody_else_set_stays() -> None:
    theirs = json.dumps({"runtimes": {"nvidia": {"path": "/opt/other"}}})
    assert json.loads(jetson.with_runtime(theirs, PATH)) == json.loads(theirs)
    assert jetson.without_runtime(theirs, PATH) == theirs
    assert jetson.with_runtime("", PATH)
    assert jetson.without_runtime(jetson.with_runtime("", PATH), PATH) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1,}', "line 1"),
        ("[]", "not a JSON object"),
        ('{"runtimes": []}', "`runtimes` .* is not an object"),
    ],
)
def test_a_configuration_that_is_none_is_not_touched(text: str, words: str) -> None:
    with pytest.raises(OakError, match=words) as refused:
        jetson.with_runtime(text, PATH)
    assert "dockerd --validate" in refused.value.hint


def test_the_gaps_of_its_kernels() -> None:
    """anduril/jetpack-nixos#128 (5.10: no WireGuard), Tunnelsats/tunnelsats#21 (5.10: no
    nf_tables), moby/moby#49557 (5.15: no iptable_raw, which Docker 28 needs for ports)."""
    old = HostFacts(
        l4t="35.3.1",
        kernel_release="5.10.104-tegra",
        network=Network("missing", wireguard_userspace=True, nftables="does not work"),
        docker=Docker(True, "24.0.5"),
    )
    assert jetson.is_jetson(old)
    assert jetson.gaps(old) == [
        "the kernel has no WireGuard: an overlay goes in userspace",
        "nft does not work with this kernel: rules go through iptables-legacy",
    ]
    new = HostFacts(
        device="NVIDIA Jetson Orin Nano Developer Kit",
        kernel_release="5.15.148-tegra",
        network=Network("kernel", nftables="yes", iptable_raw="no"),
        docker=Docker(True, "28.0.1"),
    )
    assert jetson.is_jetson(new)
    ports = "Docker {} cannot publish ports: this kernel has no iptable_raw"
    assert jetson.gaps(new) == [ports.format("28.0.1")]
    assert jetson.gaps(replace(new, docker=Docker())) == [ports.format("28 and later")]
    # `host check` says the same, in the same words.
    told = {finding.message for finding in preflight.check("orin", new)}
    assert told.issuperset(jetson.gaps(new))
    assert jetson.gaps(replace(new, docker=Docker(True, "27.5.1"))) == []
    assert not jetson.is_jetson(HostFacts(device="Raspberry Pi 5 Model B Rev 1.0"))


# --- on a host ---

# Lists the runtimes of daemon.json and, as an engine does, only when told to read it.
DOCKER = """#!/bin/sh
case "$1" in
info) cat /run/docker-runtimes 2>/dev/null || echo '{"runc": {}}' ;;
reload) python3 - <<'END'
import json, os
file = "/etc/docker/daemon.json"
said = json.load(open(file)) if os.path.exists(file) else {}
json.dump({"runc": {}, **said.get("runtimes", {})}, open("/run/docker-runtimes", "w"))
END
esac
"""
UNIT = """[Service]
ExecStart=/usr/bin/sleep infinity
ExecReload=/usr/local/bin/docker reload
"""
RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
FILE = "/etc/docker/daemon.json"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    with real_host.real_host("dvje", tmp_path_factory.mktemp("jetson")) as made:
        made.put("/etc/nv_tegra_release", RELEASE)
        made.put("/usr/local/bin/docker", DOCKER, "755")
        made.put("/etc/systemd/system/docker.service", UNIT)
        made.shell("systemctl daemon-reload; systemctl start docker")
        yield made


@pytest.fixture
def own_directories(host: RealHost) -> None:
    """In place of directories for each test: the host is one for all of them."""


@real_host.on_a_real_host
@pytest.mark.parametrize("before", ["", '{"log-driver":"journald", "bip": "10.9.0.1/24"}'])
def test_docker_is_told_of_the_runtime(host: RealHost, own_directories: None, before: str) -> None:
    host.shell("rm -f /usr/local/bin/nvidia-container-runtime")
    runtime, kernel = "jetson: NVIDIA runtime in Docker", "jetson: what its kernel lacks"
    told = host.run(steps("jetson"))
    assert "nvidia-container-toolkit" in told[runtime]
    assert told[runtime].startswith("skipped")
    with host.held() as remote:
        assert all(gap in told[kernel] for gap in jetson.gaps(remote.facts))

    host.put("/usr/local/bin/nvidia-container-runtime", "#!/bin/sh\n", "755")
    if before:
        host.put(FILE, before)
    assert host.look(steps("jetson"))[runtime] == "Docker does not know it"
    assert host.run(steps("jetson"))[runtime].startswith("done")
    told_to = json.loads(host.shell(f"cat {FILE}"))
    assert told_to["runtimes"]["nvidia"]["path"] == "/usr/local/bin/nvidia-container-runtime"
    assert told_to.get("log-driver", "") == ("journald" if before else "")
    # A run that was cut off when it had written the file, and before Docker was told.
    host.shell("rm /run/docker-runtimes")
    assert host.run(steps("jetson"))[runtime].startswith("done")
    assert host.run(steps("jetson"))[runtime].startswith("skipped")

    # A removal that was cut off when it had put the file back, and before Docker was told.
    host.shell(f"cat >{FILE}" if before else f"rm {FILE}", before.encode())
    host.run(steps("uninstall"))
    assert host.shell(f"cat {FILE} 2>/dev/null || true") == before
    assert host.shell("ls -A /etc/docker").split() == (["daemon.json"] if before else [])
    assert "nvidia" not in host.shell("docker info")


@real_host.on_a_real_host
def test_a_broken_configuration_stays_as_it_is(host: RealHost, own_directories: None) -> None:
    host.put("/usr/local/bin/nvidia-container-runtime", "#!/bin/sh\n", "755")
    host.put(FILE, '{"a": 1,}')
    with pytest.raises(OakError, match="is not JSON"):
        host.run(steps("jetson"))
    assert host.shell(f"cat {FILE}") == '{"a": 1,}'
    host.shell(f"rm {FILE}")


@real_host.on_a_real_host
def test_what_is_not_known_is_left_alone(host: RealHost, own_directories: None) -> None:
    """A file that cannot be read is not an empty one, and a stopped engine is not told."""
    runtime = "jetson: NVIDIA runtime in Docker"
    host.put("/usr/local/bin/nvidia-container-runtime", "#!/bin/sh\n", "755")
    host.shell(f"mkdir -p {FILE}")
    with pytest.raises(OakError, match="ended with 1"):
        host.run(steps("jetson"))
    assert host.shell(f"ls -A {FILE}") == ""
    host.shell(f"rmdir {FILE}")

    host.shell("mv /usr/local/bin/docker /usr/local/bin/docker.real")
    host.put("/usr/local/bin/docker", "#!/bin/sh\nexit 1\n", "755")
    said = host.run(steps("jetson"))[runtime]
    assert said.startswith("skipped: Docker does not answer")
    host.shell("mv /usr/local/bin/docker.real /usr/local/bin/docker")
    assert host.shell("ls -A /etc/docker") == ""
