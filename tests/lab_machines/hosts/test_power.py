"""Hosts of a lab that runs: switched off and on, cut off, made anew, and brought up again."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from oakctl.errors import Conflict
from oakctl.lab import labs
from oakctl.lab.machines import lab as machines
from tests.lab.requirements import MARKS
from tests.lab_machines.hosts.stage import NAME, PLAN, remote, timed

pytestmark = [*MARKS]


def test_up_again_changes_nothing(lab: machines.Lab) -> None:
    booted = remote(lab, "m1", "uptime -s; cat /etc/machine-id").stdout

    again = timed("up again", lambda: asyncio.run(machines.up(NAME, PLAN)))

    assert again == lab
    assert remote(lab, "m1", "uptime -s; cat /etc/machine-id").stdout == booted
    other = dataclasses.replace(PLAN, hosts=PLAN.hosts[:1])
    with pytest.raises(Conflict):
        asyncio.run(machines.up(NAME, other))


def test_what_was_written_survives_a_power_cut_and_a_shutdown(lab: machines.Lab) -> None:
    remote(lab, "home", "echo kept > kept; sync; sudo -n nft add table inet mine")
    assert "inet mine" in remote(lab, "home", "sudo -n nft list tables").stdout

    timed("power cut", lambda: asyncio.run(lab.power_cut("home")))
    assert "home" not in machines.load(NAME).on
    assert remote(lab, "home", "true", check=False).returncode != 0
    timed("start", lambda: asyncio.run(lab.start_host("home")))
    assert remote(lab, "home", "cat kept").stdout == "kept\n"
    # What it told its kernel is gone, as after any power cut.
    assert remote(lab, "home", "sudo -n nft list tables").stdout == ""

    console = lab.directory / "hosts" / "home" / "console.log"
    shutdowns = console.read_text(errors="replace").count("Halting system")
    timed("stop", lambda: asyncio.run(lab.stop_host("home")))
    assert "home" not in machines.load(NAME).on
    assert console.read_text(errors="replace").count("Halting system") == shutdowns + 1
    asyncio.run(lab.start_host("home"))
    assert remote(lab, "home", "cat kept").stdout == "kept\n"
    assert machines.load(NAME).on == lab.on


def test_a_cut_host_runs_on_and_comes_back(lab: machines.Lab) -> None:
    booted = remote(lab, "home", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1").stdout

    asyncio.run(lab.cut_host("home"))
    assert machines.load(NAME).cut == ("home",)
    assert "home" in machines.load(NAME).on
    assert remote(lab, "home", "true", check=False).returncode != 0
    # A host that starts while it is cut off stays so.
    asyncio.run(lab.start_host("home"))
    assert remote(lab, "home", "true", check=False).returncode != 0

    asyncio.run(lab.heal_host("home"))
    assert machines.load(NAME).cut == ()
    after = remote(lab, "home", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1").stdout
    assert after == booted
    remote(lab, "home", f"ping -c1 -W5 {lab.host('m1').address}")


def test_a_reflashed_host_is_another_one(lab: machines.Lab) -> None:
    old = remote(lab, "m2", "touch mine; cat /etc/machine-id").stdout

    timed("reflash", lambda: asyncio.run(lab.reflash_hosts(["m2"])))

    refused = remote(lab, "m2", "true", check=False)
    assert refused.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    asyncio.run(machines.up(NAME, PLAN))  # makes the new key known
    assert remote(lab, "m2", "cat /etc/machine-id").stdout != old
    assert remote(lab, "m2", "test -e mine", check=False).returncode == 1
    answered = remote(lab, "m2", "sudo -S -p '' id -u", stdin=f"{lab.sudo_password}\n")
    assert answered.stdout == "0\n"


def test_labs_of_every_kind_are_one_list(lab: machines.Lab) -> None:
    assert [each.name for each in labs.ls()] == [NAME]
    assert labs.load(NAME).hosts == lab.hosts
