"""Rules for one host that no report has a number for: what is there already, and the order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.views import HostFinding
from oakctl.remote import preflight
from oakctl.remote.equipment import Install
from oakctl.remote.findings import BLOCK, FIXABLE, NOTE, in_order
from tests.remote.field.reported import PI, about, only

WORKER = Install("/opt/oakctl", True, ("worker edge/w1",), ("worker",), True, "anna on laptop")


def found(install: Install, known_role: str = "") -> list[HostFinding]:
    facts = replace(PI, installs=(install,))
    findings = preflight.check("pi-1", facts, known_role=known_role)
    return [each for each in findings if each.topic == "install"]


def test_what_this_root_has_made_is_no_finding() -> None:
    assert found(WORKER, "worker edge/w1") == []
    both = Install("/opt/oakctl", True, ("orchestrator of edge", "worker edge/w1"), (), True)
    assert found(both, "orchestrator of edge, worker edge/w1") == []


def test_a_worker_of_somebody_else() -> None:
    (finding,) = found(WORKER)
    assert finding.severity == FIXABLE
    assert "it is worker edge/w1 already" in finding.message
    assert "anna on laptop" in finding.message
    assert "oakctl worker remove edge/w1" in finding.remedy
    assert "rm -rf /etc/systemd/system/oakctl-* /opt/oakctl" in finding.remedy
    (other,) = found(WORKER, "worker cloud/w9")
    assert "edge/w1" in other.message


def test_a_set_up_that_did_not_end() -> None:
    half = Install("/home/pi/.oakctl", True, (), ("worker",), False, "anna on laptop")
    (finding,) = found(half)
    assert (finding.severity, "did not end" in finding.message) == (NOTE, True)
    assert "carries on" in finding.remedy
    assert "~/.oakctl" in finding.remedy
    assert found(half, "worker edge/w1") == [], "it is being set up"


def test_what_only_the_superuser_sees() -> None:
    (finding,) = found(Install("/opt/oakctl", readable=False))
    assert "--sudo-password-file" in finding.remedy


def test_nothing_there() -> None:
    assert about("install") == []


@pytest.mark.parametrize(
    ("changes", "topic"),
    [
        ({"device": "Raspberry Pi 5 Model B Rev 1.0"}, "device"),
        ({"device": "NVIDIA Jetson Orin Nano", "l4t": "36.4.3"}, "device"),
        ({"tpus": ("/dev/apex_0",)}, "tpu"),
    ],
)
def test_devices_are_notes(changes: dict[str, Any], topic: str) -> None:
    finding = only(topic, **changes)
    assert finding.severity == NOTE
    assert all(str(value) in finding.message for value in changes.values() if topic == "device")


@given(st.lists(st.sampled_from([BLOCK, FIXABLE, NOTE])))
def test_the_worst_first_and_otherwise_as_found(severities: list[str]) -> None:
    findings = [HostFinding("h", each, str(n), "m") for n, each in enumerate(severities)]
    ordered = in_order(findings)
    assert sorted(ordered, key=findings.index) == findings
    for severity in (BLOCK, FIXABLE, NOTE):
        of_it = [f for f in ordered if f.severity == severity]
        assert of_it == [f for f in findings if f.severity == severity]
    order = [(BLOCK, FIXABLE, NOTE).index(each.severity) for each in ordered]
    assert order == sorted(order)
