"""All hosts at once: every finding of each, and what shows only among several."""

from __future__ import annotations

from dataclasses import replace

from oakctl.remote import fleet_check
from oakctl.remote.equipment import Install
from tests.remote.field.reported import PI, ROOM


def test_all_findings_of_all_hosts_at_once() -> None:
    hosts = {
        "pi-1": replace(PI, python="", opt=replace(ROOM, free_mb=1), hostname="a"),
        "pi-2": replace(PI, privilege="", hostname="b"),
        "pi-3": replace(PI, hostname="c"),
    }
    found = fleet_check.check(hosts)
    blocked = {(f.host, f.topic) for f in found if f.severity == "block"}
    assert blocked == {("pi-1", "python"), ("pi-1", "disk"), ("pi-2", "host")}
    assert all(f.remedy for f in found if f.severity != "note")
    assert {f.host for f in found} == set(hosts)


def test_what_this_root_made_of_a_host_is_known() -> None:
    install = Install("/opt/oakctl", True, ("worker edge/w1",), ("worker",), True)
    hosts = {"pi-1": replace(PI, installs=(install,))}
    assert [f for f in fleet_check.check(hosts) if f.topic == "install"]
    known = fleet_check.check(hosts, roles={"pi-1": "worker edge/w1"})
    assert not [f for f in known if f.topic == "install"]


def test_a_password_that_was_given_is_not_asked_for() -> None:
    asks = replace(PI, privilege="sudo-password")
    assert [f for f in fleet_check.check({"pi-1": asks}) if f.topic == "sudo"]
    assert not [
        f for f in fleet_check.check({"pi-1": asks}, passwords=["pi-1"]) if f.topic == "sudo"
    ]


def test_no_hosts_no_findings() -> None:
    assert fleet_check.check({}) == []
