"""A host's answers read, and what is refused on which host."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oakctl.chaos import faults, means, possible
from oakctl.chaos.faults import Fault, Kind
from oakctl.chaos.means import Means
from oakctl.chaos.possible import Here
from oakctl.errors import OakError, UsageError
from oakctl.model.views import HostView
from tests.chaos.samples import LAB, REAL

HERE = Here("b-0", 99_000)
HOST = HostView("pi-1", "192.168.1.20")
ANSWER = """Welcome to pi-1
n0 clock=1700000000.5
n0 uid=1000
n0 boot=b-1
n0 prefix=/opt/oakctl
n0 plain=
n0 loopback=
n0 systemd=yes
n0 systemd_run=yes
n0 nft=yes
n0 tc=yes
n0 ssh=::ffff:192.168.1.5 50022 192.168.1.20 22
n0 address=eth0 192.168.1.20/24
n0 address=eth0 fd00::20/64
n0 address=docker0 172.17.0.1/16
n0 address=oak0 10.18.0.1/32
n0 address=eth1"; flush 10.9.9.9/24
n0 disk=4096 8192000 100 90
n0 end=yes
"""


def test_an_answer_is_read() -> None:
    assert means.parse(ANSWER.splitlines(), "n0") == replace(REAL, clock=1700000000.5)


def test_an_answer_without_its_end_is_none() -> None:
    assert means.parse(ANSWER.splitlines()[:-1], "n0") is None
    assert means.parse(ANSWER.splitlines(), "another") is None


@settings(max_examples=40)
@given(st.lists(st.text(max_size=60), max_size=8))
def test_whatever_a_host_says_breaks_nothing(lines: list[str]) -> None:
    read = means.parse([*(f"n {line}" for line in lines), "n end=yes"], "n")
    assert read is not None
    for link, address in read.links:
        assert not set(link + address) & set("\"'{};$` \n")


def test_whose_timer() -> None:
    assert REAL.timer == "system"
    assert replace(REAL, prefix="/home/pi/.oakctl").timer == "user"
    assert replace(REAL, systemd_run=False).timer == "shell"
    assert LAB.timer == "shell"


def allowed(fault: Fault, its: Means) -> None:
    possible.require(fault, HOST, its, HERE)


def refused(fault: Fault, its: Means, said: str, hint: str) -> None:
    with pytest.raises(OakError, match=said) as error:
        allowed(fault, its)
    assert hint in error.value.hint


ALL = [
    faults.fault(kind, "pi-1", peer="pi-2", bits_per_s=10**6 if kind is Kind.SLOW else 0)
    for kind in Kind
]


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.kind.value)
def test_all_of_it_on_a_real_host(fault: Fault) -> None:
    allowed(fault, REAL)


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.kind.value)
def test_nothing_without_a_place_for_the_note(fault: Fault) -> None:
    refused(fault, replace(REAL, prefix=""), "nothing of ours", "oakctl host check pi-1")


@pytest.mark.parametrize("kind", [Kind.ISOLATE, Kind.PARTITION, Kind.SLOW])
def test_no_network_of_its_own(kind: Kind) -> None:
    fault = faults.fault(kind, "pi-1", peer="pi-2", bits_per_s=10**6)
    refused(fault, LAB, "shares this machine's network", "--kind namespaces")
    refused(fault, replace(REAL, prefix="/home/pi/.oakctl"), "as a user", "power-cut")
    refused(fault, replace(REAL, nft=False), "no nft", "nftables")


def test_our_own_ssh_is_never_cut_off_unknowingly() -> None:
    isolate = faults.fault(Kind.ISOLATE, "pi-1")
    refused(isolate, replace(REAL, client=""), "does not say where our SSH", "SSH_CONNECTION")
    allowed(isolate, replace(REAL, client="", plain=True))  # a light host of a lab
    refused(isolate, replace(REAL, links=()), "no interface", "ip addr")


def test_delay_takes_netem() -> None:
    slow = faults.fault(Kind.SLOW, "pi-1", delay_ms=100)
    refused(slow, REAL, "no netem", "--bandwidth")
    allowed(slow, replace(REAL, netem=True))
    refused(slow, replace(REAL, tc=False), "no tc", "iproute2")


def test_this_machines_own_disk_stays_as_it_is() -> None:
    fill = faults.fault(Kind.FILL_DISK, "pi-1")
    refused(fill, LAB, "own disk", "small file system")
    on_our_disk = replace(REAL, boot=HERE.boot, disk_mb=HERE.disk_mb)
    refused(fill, on_our_disk, "own disk", "small file system")
    allowed(fill, replace(on_our_disk, disk_mb=64))


def test_a_reset_never_hits_another_machine() -> None:
    reset = faults.fault(Kind.POWER_CUT, "pi-1")
    refused(reset, replace(REAL, boot=HERE.boot), "own kernel", "lab up")
    refused(reset, replace(REAL, boot=""), "own kernel", "lab up")
    refused(reset, replace(REAL, container=True), "is a container", "isolate")
    refused(reset, replace(REAL, prefix="/home/pi/.oakctl"), "superuser", "plug")
    with pytest.raises(UsageError, match="starts again at once"):
        allowed(faults.fault(Kind.POWER_CUT, "pi-1", for_s=60), REAL)
