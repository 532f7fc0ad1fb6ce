"""A host of another architecture becomes a worker by the command that every host is made one by.

Emulated, so that all takes ten to twenty times as long there: only in `make soak`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.lab.machines.lab_file import Arch, LabPlan, MachineHost, Sudo, Suite
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.host_state import left, take
from tests.lab.operator_tool import Operator
from tests.lab.requirements import BOOT_TIMEOUT_S, MARKS

pytestmark = [*MARKS, pytest.mark.soak, pytest.mark.timeout(3 * BOOT_TIMEOUT_S)]

PLAN = LabPlan(
    (
        MachineHost("orch"),
        MachineHost("pi", suite=Suite.BOOKWORM, arch=Arch.ARM64, sudo=Sudo.PASSWORD),
    )
)
ATTEMPTS = 3
PATIENCE = ("--timeout", "1200")


@pytest.fixture
def mixed(lab_directories: Path) -> Iterator[dict[str, Host]]:
    """An orchestrator of this machine's architecture, and a host that is not."""
    fleet = FleetHosts(PLAN, "arm64")
    try:
        fleet.up()
        yield fleet.bare()
    finally:
        fleet.down()


def carried_through(operator: Operator, *command: str) -> None:
    """A command that may be typed again: what is emulated is slow enough to seem gone."""
    for _ in range(ATTEMPTS - 1):
        done = operator.run(*command, check=False)
        if done.returncode == 0:
            return
        sys.stdout.write(f"{done.stderr}\n")
        assert "it carries on" in done.stderr, done.stderr
    operator.run(*command)


def test_an_aarch64_host_becomes_a_worker(mixed: dict[str, Host], operator: Operator) -> None:
    pi = mixed["pi"]
    before = take(pi)
    for host in mixed.values():
        operator.knows(host)
    operator.run("cluster", "create", "edge", "--on", "orch", "--accept-new")
    add = ("worker", "add", "pi", "--cluster", "edge", "--on", "pi", "--accept-new", *PATIENCE)
    carried_through(operator, *add, *operator.password_file(pi))

    (worker,) = operator.json("worker", "ls")
    assert worker["status"] == "ready"
    assert worker["summary"]["facts"]["architecture"] == "aarch64"

    password = operator.password_file(pi)
    carried_through(operator, "worker", "remove", "edge/pi", "--yes", *PATIENCE, *password)
    assert "\n".join(left(before, take(pi))) == ""
