"""Each host of a lab is a Debian of its own, which the operator reaches."""

from __future__ import annotations

from oakctl.lab.machines import lab as machines
from tests.lab.requirements import MARKS
from tests.lab_machines.hosts.stage import PLAN, remote

pytestmark = [*MARKS]


def test_every_host_answers_and_is_a_whole_debian(lab: machines.Lab) -> None:
    assert lab.on == tuple(host.name for host in PLAN.hosts)
    machine_ids = set()
    for host in PLAN.hosts:
        name, machine_id, kind, user = remote(
            lab,
            host.name,
            "uname -n; cat /etc/machine-id; cat /proc/1/comm; id -un; python3 -c 'import asyncio'",
        ).stdout.split()
        assert (name, kind, user) == (host.name, "systemd", "oak")
        machine_ids.add(machine_id)
    assert len(machine_ids) == len(PLAN.hosts)
    remote(lab, "m1", "sudo -n systemctl --wait is-system-running")


def test_sudo_asks_for_the_password_where_it_shall(lab: machines.Lab) -> None:
    assert remote(lab, "m1", "sudo -n id -u").stdout == "0\n"
    assert remote(lab, "m2", "sudo -n id -u", check=False).returncode != 0
    answered = remote(lab, "m2", "sudo -S -p '' id -u", stdin=f"{lab.sudo_password}\n")
    assert answered.stdout == "0\n"
    wrong = remote(lab, "m2", "sudo -S -p '' id -u", stdin="wrong\n", check=False)
    assert wrong.returncode != 0


def test_services_of_one_host_are_not_those_of_another(lab: machines.Lab) -> None:
    question = "systemctl is-active ssh dbus.socket"
    try:
        remote(lab, "m1", "sudo -n systemctl stop dbus.socket; sudo -n systemctl restart ssh")

        # Without its bus only the superuser gets an answer there.
        there = remote(lab, "m1", f"sudo -n {question}", check=False)
        assert there.stdout.split() == ["active", "inactive"]
        here = remote(lab, "m2", question)
        assert here.stdout.split() == ["active", "active"]
    finally:
        # Who keeps logins has lost the bus as well, and each of them would wait for it.
        again = "systemctl start dbus.socket && sudo -n systemctl restart systemd-logind"
        remote(lab, "m1", f"sudo -n {again}")
