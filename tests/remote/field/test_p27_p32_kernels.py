"""Field failures 27 to 32: what kernels lack, whose rules win, and graphics that nobody sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from oakctl.remote.equipment import Docker, Network
from oakctl.remote.questions import SCRIPT
from tests.remote.field.reported import (
    EVERY_HOST_GETS,
    about,
    as_root,
    ask,
    commands,
    elsewhere,
    fake,
    needs,
    only,
    path,
    read,
)


def test_p27_no_wireguard_is_told_with_the_way_around() -> None:
    """Reported facts of a Jetson: the module is not there."""
    none = only("network", network=Network(wireguard="missing", nftables="yes"))
    assert "nowhere" in none.message
    other = Network(wireguard="missing", tun=True, nftables="yes")
    assert "in userspace" in only("network", network=other).message


@as_root
@pytest.mark.parametrize(("works", "found"), [(True, "kernel"), (False, "missing")])
def test_p27_it_is_tried_and_not_believed(tmp_path: Path, works: bool, found: str) -> None:
    """By making an interface where nobody sees it: that a module loads says too little."""
    needs("unshare", "ip")
    called = tmp_path / "called"
    fake(
        tmp_path / "bin",
        "ip",
        f'case "$*" in *"type wireguard"*) echo "$*" >>{called}; exit {0 if works else 2} ;; esac',
    )
    assert ask(PATH=path(tmp_path / "bin")).network.wireguard == found
    assert called.read_text().count("link add") == 1
    assert "modprobe" not in SCRIPT


@as_root
def test_p27_nothing_is_left_of_the_try() -> None:
    ask()
    assert "oakctl" not in Path("/proc/net/dev").read_text()


def test_p28_two_kinds_of_iptables() -> None:
    """Reported facts: rules in both."""
    both = Network("kernel", nftables="yes", iptables="nf_tables", legacy_rules=4, nft_rules=9)
    assert only("network", network=both).severity == "fixable"
    broken = Network("kernel", nftables="does not work")  # reported facts of a Xavier, 5.10-tegra
    assert "iptables-legacy" in only("network", network=broken).message
    assert "update-alternatives" not in commands()
    assert read(iptables="iptables v1.8.9 (nf_tables)").network.iptables == "nf_tables"
    assert read(iptables="iptables v1.6.1").network.iptables == "legacy"


@as_root
def test_p28_rules_of_both_kinds_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    fake(folder, "iptables-legacy-save", "echo '*filter'; echo '-A FORWARD -j X'; echo COMMIT")
    fake(folder, "iptables-nft-save", "echo '-A INPUT -j Y'; echo '-A INPUT -j Z'")
    fake(folder, "nft", "exit 1")
    network = ask(PATH=path(folder)).network
    assert (network.legacy_rules, network.nft_rules) == (1, 2)
    assert network.nftables == "does not work"


def test_p29_docker_28_without_iptable_raw() -> None:
    """Reported facts of an Orin with JetPack 6. Not blocking: instances that are no containers,
    and those that publish no port, run there all the same."""
    changes: dict[str, Any] = {
        "kernel_release": "5.15.148-tegra",
        "network": Network("kernel", nftables="yes", iptable_raw="no"),
    }
    found = only("docker", docker=Docker(True, "28.0.1", "arm64"), **changes)
    assert (found.severity, "Docker 27" in found.remedy) == ("fixable", True)
    assert "DOCKER_INSECURE_NO_IPTABLES_RAW=1" in found.remedy
    assert about("docker", docker=Docker(True, "27.5.1", "arm64"), **changes) == []
    has_it: dict[str, Any] = changes | {
        "network": Network("kernel", nftables="yes", iptable_raw="yes")
    }
    assert about("docker", docker=Docker(True, "28.0.1", "arm64"), **has_it) == []


def test_p30_forwarded_packets_that_are_dropped() -> None:
    assert read(forward="-P FORWARD DROP").network.forward_policy == "DROP"
    drop = Network("kernel", nftables="yes", forward_policy="DROP")
    assert "DOCKER-USER" in only("network", network=drop).remedy


@as_root
@pytest.mark.parametrize("policy", ["DROP", "ACCEPT"])
def test_p30_a_real_policy_is_seen(policy: str) -> None:
    needs("iptables", "unshare")
    prepare = f"iptables -P FORWARD {policy}"
    assert ask(*elsewhere(prepare, network=True)).network.forward_policy == policy


@pytest.mark.parametrize("wall", ["ufw", "firewalld"])
def test_p31_active_firewalls(tmp_path: Path, wall: str) -> None:
    folder = tmp_path / "bin"
    fake(folder, "systemctl", f'case "$*" in "is-active --quiet {wall}") exit 0 ;; esac; exit 3')
    told = ask(PATH=path(folder))
    assert told.network.firewalls == (wall,)
    found = only("firewall", network=Network("kernel", "", "yes", firewalls=(wall,)))
    assert "4222" in found.remedy
    assert not re.search(r"nft flush|iptables -F|--reload", commands(*EVERY_HOST_GETS))


@as_root
def test_p31_rules_that_nobody_calls_a_firewall() -> None:
    needs("nft", "unshare")
    chain = (
        "nft 'add table ip t; add chain ip t c { type filter hook input priority 0; policy %s; }'"
    )
    assert ask(*elsewhere(chain % "drop", network=True)).network.drops_input
    assert not ask(*elsewhere(chain % "accept", network=True)).network.drops_input
    found = only("firewall", network=Network("kernel", nftables="yes", drops_input=True))
    assert "host check --orchestrator pi-1" in found.remedy


def test_p32_a_jetson_without_nvidia_smi_has_a_gpu() -> None:
    """Reported facts of JetPack 5 and 6."""
    five = read(
        l4t="# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref",
        device="NVIDIA Jetson Xavier NX",
    )
    assert (five.gpus, five.l4t) == (("Jetson integrated",), "35.3.1")
    six = read(compatible="nvidia,tegra234", nvidia="Orin (nvgpu), [N/A], N/A;")
    assert six.gpus == ("Jetson integrated",)
    assert read(l4t_package="36.4.3-20250107174145").l4t == "36.4.3"
    assert read(nvidia="NVIDIA-SMI has failed because it couldn't communicate;").gpus == ()
    card = read(nvidia="NVIDIA GeForce RTX 3080, 10240 MiB, 550.1;")
    assert card.gpus == ("NVIDIA GeForce RTX 3080, 10240 MiB",)
    shared = only("gpu", gpus=five.gpus)
    assert "its memory is the system's" in shared.message
    docker = Docker(True, "24.0.5", "arm64", runtimes=("runc",))
    assert "NVIDIA runtime" in only("docker", docker=docker, l4t="35.3.1").message


@pytest.mark.parametrize(
    ("body", "gpus"),
    [
        ("echo 'NVIDIA T4, 15360 MiB, 550.1'", ("NVIDIA T4, 15360 MiB",)),
        ("echo 'Orin (nvgpu), [N/A], N/A'", ("Orin (nvgpu), [N/A]",)),
        ("echo 'NVIDIA-SMI has failed'; exit 9", ()),
        ("printf 'a, 1 MiB, 5\\nb, 2 MiB, 5\\n'", ("a, 1 MiB", "b, 2 MiB")),
        ("exit 127", ()),
    ],
)
def test_p32_nvidia_smi_says_all_kinds_of_things(
    tmp_path: Path, body: str, gpus: tuple[str, ...]
) -> None:
    fake(tmp_path / "bin", "nvidia-smi", body)
    assert ask(PATH=path(tmp_path / "bin")).gpus == gpus


def test_p32_a_tool_that_hangs_does_not_hang_the_answer(tmp_path: Path) -> None:
    needs("timeout")
    folder = tmp_path / "bin"
    fake(folder, "nvidia-smi", "exec sleep 600")
    fake(folder, "timeout", 'shift; exec /usr/bin/timeout 0.2 "$@"')
    assert ask(PATH=path(folder)).gpus == ()
