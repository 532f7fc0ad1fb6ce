"""Field failures 22 to 26: clocks, copied images, addresses that change, no way out."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.config import endpoint
from oakctl.orchestration.cluster import bus_server
from oakctl.remote import authority, bootstrap, facts, fleet_check
from oakctl.remote.reachability import check_reachability
from oakctl.remote.target import split_address
from tests.bus_fixture import Bus
from tests.remote import real_sshd
from tests.remote.field.reported import EVERY_HOST_GETS, PI, commands
from tests.remote.servers import free_port


def skew(error_s: float = 0.0, **offsets: float) -> dict[str, list[str]]:
    hosts = {
        name: replace(PI, clock=1000.0 + offset, clock_error_s=error_s)
        for name, offset in offsets.items()
    }
    found = [each for each in fleet_check.check(hosts) if each.topic == "clock"]
    return {name: [f.message for f in found if f.host == name] for name in (*offsets, "here")}


def test_p22_a_clock_that_is_wrong_is_measured_against_the_others() -> None:
    found = skew(a=0, b=2, c=-7 * 86400)
    assert found["a"] == found["b"] == found["here"] == []
    assert "certificates are not valid there yet" in found["c"][0]
    assert authority.BACKDATED.total_seconds() == fleet_check.CERTIFICATE_SLACK_S


def test_p22_the_laptop_may_be_the_one_that_is_wrong() -> None:
    found = skew(a=500, b=501, c=499)
    assert found["a"] == found["b"] == found["c"] == []
    assert "500 s behind those of the hosts" in found["here"][0]
    ahead = skew(a=-90_000, b=-90_001, c=-89_999)
    assert "certificates made here are not valid there yet" in ahead["here"][0]


def test_p22_a_host_without_a_battery_wakes_in_1970() -> None:
    hosts = {"pi-1": replace(PI, clock=40.0, asked_at=1.8e9)}
    (found,) = [each for each in fleet_check.check(hosts) if each.topic == "clock"]
    assert (found.severity, "date -u -s @1800000000" in found.remedy) == ("fixable", True)


def test_p22_a_slow_answer_is_no_skew() -> None:
    """A Pi that takes a minute for its first Python; its clock is right."""
    told = facts.timed(replace(PI, clock=1000.0, clock_after=1058.0), 999.5, 1059.0)
    assert abs(told.clock - told.asked_at) <= told.clock_error_s < 3
    # All of a minute was on the way: nothing is known any better than that.
    blind = facts.timed(replace(PI, clock=1000.0, clock_after=1000.0), 940.0, 1000.0)
    found = fleet_check.check({"pi-1": blind})
    assert not [each for each in found if each.topic == "clock"]


@given(
    offset=st.floats(-1e6, 1e6),
    sent=st.floats(1e9, 2e9),
    way=st.tuples(st.floats(0, 60), st.floats(0, 60)),
    took=st.floats(0, 60),
)
def test_p22_the_true_offset_is_within_what_is_said(
    offset: float, sent: float, way: tuple[float, float], took: float
) -> None:
    """Whatever the two ways took; a host tells whole seconds."""
    there, back = way
    first = float(int(sent + there + offset))
    last = float(int(sent + there + took + offset))
    told = facts.timed(replace(PI, clock=first, clock_after=last), sent, sent + there + took + back)
    assert abs((told.clock - told.asked_at) - offset) <= told.clock_error_s + 0.01


@given(st.lists(st.floats(-14, 14), min_size=1, max_size=9))
def test_p22_a_little_skew_is_none(offsets: list[float]) -> None:
    hosts = {f"h{i}": replace(PI, clock=1000.0 + each) for i, each in enumerate(offsets)}
    assert not [f for f in fleet_check.check(hosts) if f.topic == "clock"]


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9), st.floats(100, 1e9))
def test_p22_one_of_many_that_is_wrong_is_the_one(offsets: list[float], wrong: float) -> None:
    hosts = {f"h{i}": replace(PI, clock=1e9 + each) for i, each in enumerate(offsets)}
    hosts = {name: replace(each, asked_at=1e9) for name, each in hosts.items()}
    hosts["odd"] = replace(PI, clock=1e9 + wrong, asked_at=1e9)
    assert {f.host for f in fleet_check.check(hosts) if f.topic == "clock"} == {"odd"}


def test_p23_copied_images() -> None:
    one = replace(PI, hostname="raspberrypi", machine_id="m", host_keys=("ssh-ed25519 A",))
    found = fleet_check.check({"pi-1": one, "pi-2": one, "pi-3": replace(PI, machine_id="x")})
    copies = [f for f in found if f.topic == "copy"]
    assert {f.host for f in copies} == {"pi-1", "pi-2"}
    text = " ".join(f.message for f in copies)
    assert all(word in text for word in ("machine-id", "SSH host key", "raspberrypi"))
    assert all(f.remedy for f in copies)
    assert {f.severity for f in copies} <= {"fixable", "note"}, "a name of ours tells them apart"


def test_p23_docker_copied_with_the_image() -> None:
    docker = replace(PI.docker, installed=True, version="26.1.5", engine_id="ABCD:EFGH")
    hosts = {name: replace(PI, hostname=name, docker=docker) for name in ("pi-1", "pi-2")}
    found = [f for f in fleet_check.check(hosts) if f.topic == "copy"]
    assert [(f.host, "Docker" in f.message) for f in found] == [("pi-1", True), ("pi-2", True)]


def test_p23_hosts_of_a_lab_share_a_machine_on_purpose() -> None:
    lab = replace(PI, supervisor="plain:/s", machine_id="m")
    assert not [f for f in fleet_check.check({"a": lab, "b": lab}) if f.topic == "copy"]


def test_p24_a_worker_is_its_name_and_secret_not_its_address() -> None:
    """A worker dials out; nothing that lets it in names an address."""
    entry = {"role": "worker", "hash": "$2b$04$" + "a" * 53}
    users = bus_server.render_users({"w1": entry})
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|allowed_connection", users)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("[::1]:2222", ("", "::1", 2222)), ("pi@[fe80::1]", ("pi", "fe80::1", 22))],
)
def test_p25_ipv6_addresses(text: str, parts: tuple[str, str, int]) -> None:
    assert split_address(text) == parts


ipv6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text().strip(),
    reason="no IPv6 here",
)


@ipv6
@pytest.mark.slow
@pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")
async def test_p25_a_host_that_has_only_ipv6(tmp_path: Path) -> None:
    """A real SSH server, by both of our libraries, and a place for a bus."""
    with real_sshd.server(tmp_path, address="::1") as target:
        told = await asyncio.to_thread(bootstrap.look, target)
        assert (told.reached_address, told.every_address) == ("::1", "::")
        assert await check_reachability([target], target, port=free_port(), facts=told) == []
        (found,) = await check_reachability([target], target, ["fd00::dead"], free_port())
        assert "at [fd00::dead]:" in found.message


@ipv6
def test_p25_a_bus_that_listens_for_both(tmp_path: Path) -> None:
    bus = Bus.create(tmp_path / "bus")
    config = Path(bus.layout.bus_config)
    config.write_text(config.read_text().replace(f"127.0.0.1:{bus.port}", endpoint("::", bus.port)))
    bus.start()
    try:
        for address in ("::1", "127.0.0.1"):
            with socket.create_connection((address, bus.port), 20) as known:
                assert known.recv(5) == b"INFO "
    finally:
        bus.stop()


def test_p26_a_host_needs_no_internet() -> None:
    """Hosts of the machine lab have no way out: each set-up there is a test of this too."""
    needed = commands(*EVERY_HOST_GETS)
    assert not re.search(r"\bcurl\b|\bwget\b|https?://|\bapt", needed)
