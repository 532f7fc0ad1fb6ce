"""Which overlay a host gets, and that a host's words do no harm on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote import overlay_choice, overlay_host
from oakctl.remote.equipment import Network
from oakctl.remote.facts import HostFacts
from oakctl.remote.overlay_choice import HOST, KERNEL, LOOPBACK, Found
from oakctl.remote.residence import SYSTEM, USER, Homeless, Residence

ROOT = Residence(SYSTEM, "/opt/oakctl", True, "r")
OWN = Residence(USER, "/home/a/.oakctl", False, "r")


def choose(asked: str = "", **network: object) -> overlay_choice.Overlay:
    return overlay_choice.by_facts(HostFacts(network=Network(**network)), ROOT, asked)  # type: ignore[arg-type]


def test_facts_that_are_not_known_are_no_hindrance() -> None:
    assert choose().driver == KERNEL
    assert choose(wireguard="missing", tun=True, nftables="missing").driver == KERNEL
    assert "by the kernel" in choose(wireguard="kernel", nftables="yes").reason


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ({"nftables": "does not work"}, "nft does not work"),
        ({"wireguard": "missing"}, "/dev/net/tun"),
        ({"routes": ("192.168.0.0/24 eth0", "10.30.5.0/24 eth1")}, "10.30.0.0/16"),
        ({"routes": ("10.0.0.0/8 tun0",)}, "10.18.0.0/16"),
    ],
)
def test_a_host_that_cannot_have_it_gets_none_and_the_reason(
    network: dict[str, object], why: str
) -> None:
    for asked in ("", KERNEL):
        found = choose(asked, **network)
        assert found.driver == HOST
        assert why in found.reason


def test_the_superuser_is_needed_and_a_loopback_lab_has_its_own() -> None:
    assert overlay_choice.by_facts(HostFacts(), OWN).driver == HOST
    assert overlay_choice.by_facts(HostFacts(), Homeless("no", "way")).driver == HOST
    lab = HostFacts(environment={"OAKCTL_LOOPBACK_NUMBER": "4"})
    assert overlay_choice.by_facts(lab, OWN).driver == LOOPBACK
    light = HostFacts(environment={"OAKCTL_OVERLAY": "kernel"})
    assert overlay_choice.by_facts(light, OWN).driver == KERNEL
    assert choose(HOST) == overlay_choice.Overlay(HOST, "asked for")


@pytest.mark.parametrize(
    ("answer", "driver", "why"),
    [
        ("kernel\ntun\n", KERNEL, "by the kernel"),
        ("program 0.0.20231211-1\ntun\n", KERNEL, "wireguard-go 0.0.20231211-1"),
        ("program 0.0.20220316-1+b4\ntun\n", KERNEL, "a sixth of the speed"),
        ("program 0.0.20231211-1\n", HOST, "/dev/net/tun"),
        ("tun\n", HOST, "wireguard-go is not there"),
        ("kernel\nlacks nft\nlacks wg\n", HOST, "nftables, wireguard-tools not installed"),
        ("kernel\nrules Error: syntax\x1b[31m error\n", HOST, "Error: syntax [31m error"),
        ("", HOST, "no WireGuard"),
    ],
)
def test_what_a_host_says_when_it_is_tried_decides(answer: str, driver: str, why: str) -> None:
    found = overlay_choice.by_probe(overlay_choice.read(answer))
    assert found.driver == driver
    assert why in found.reason


@given(st.text(), st.lists(st.sampled_from(["kernel", "tun", "program ", "lacks nft", "rules "])))
def test_whatever_it_says_there_is_a_driver_and_a_line(text: str, lines: list[str]) -> None:
    found = overlay_choice.read("\n".join(each + text for each in lines))
    chosen = overlay_choice.by_probe(found)
    assert chosen.driver in (KERNEL, HOST)
    assert chosen.reason.isprintable()
    assert set(found.packages) <= set(overlay_choice.PROGRAMS.values())


@given(st.text(max_size=30), st.text(max_size=10))
def test_a_route_that_is_none_overlaps_nothing(where: str, device: str) -> None:
    assert all(
        network in overlay_choice.NETWORKS
        for _, network in overlay_choice.overlapping([f"{where} {device}"])
    )


def test_a_default_route_and_other_networks_are_no_overlap() -> None:
    routes = ["0.0.0.0/0 eth0", "10.0.0.0/16 eth0", "10.17.255.255 eth0", "172.16.0.0/12 eth0"]
    assert list(overlay_choice.overlapping(routes)) == []


def test_what_the_probe_looks_for_is_what_can_be_installed() -> None:
    looked = overlay_host.PROBE.partition("for each in ")[2].partition(";")[0].split()
    assert sorted(looked) == sorted(overlay_choice.PROGRAMS)
    assert Found(lacks=("ss", "ip")).packages == ("iproute2",)
