"""A fleet from a file on real hosts: bare to ready, nothing to do the second time, as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import fleet_file
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.host_state import left, take
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS

pytestmark = [*MARKS]

WORKERS = ("w-bookworm", "w-trixie", "w-bullseye", "w-nat")
STANDALONE = Path(__file__).parent.parent.parent / "scripts/standalone-python"
# The look at a host, and each step's check: none of them changes anything.
MOST_COMMANDS = 40


@dataclass(frozen=True)
class Fleet:
    """A file that describes hosts which know nothing of it yet, and who applies it."""

    hosts: Mapping[str, Host]
    operator: Operator
    file: Path
    python: Path

    def say(self, verb: str, *more: str) -> str:
        """What `fleet VERB` prints; it has to succeed."""
        arguments = ("-f", str(self.file), *more)
        return self.operator.run("fleet", verb, *arguments).stdout

    @property
    def password(self) -> tuple[str, ...]:
        """What stands for the password for sudo."""
        return fleet_file.password(self.operator, self.hosts)

    @property
    def answers(self) -> tuple[str, ...]:
        """What stands for the answers to all questions of `apply`."""
        return ("--yes", *self.password, "--python-archive", str(self.python))


@pytest.fixture
def fleet(hosts: FleetHosts, operator: Operator, tmp_path: Path) -> Fleet:
    """One orchestrator and every kind of worker, bare."""
    bare = hosts.bare("orch", *WORKERS)
    python = tmp_path / "python.tar.gz"
    source = str(bare["w-bookworm"].disk)  # the Python of a Debian that is newer than bullseye
    subprocess.run([sys.executable, str(STANDALONE), "--from", source, str(python)], check=True)
    return Fleet(bare, operator, fleet_file.written(operator, bare), python)


def commands_on(host: Host) -> int:
    """How many commands have been run there as the superuser, by sudo's own journal."""
    lines = host.run("journalctl --no-pager -t sudo -o cat", root=True).stdout
    return lines.count("COMMAND=")


def test_bare_hosts_become_a_fleet_and_are_bare_again(fleet: Fleet) -> None:
    before = {name: take(host) for name, host in fleet.hosts.items()}
    planned = json.loads(fleet.say("plan", "--accept-new", *fleet.answers[1:], "-o", "json"))
    assert len(planned["changes"]) == 2 * len(fleet.hosts)
    assert {name: left(before[name], take(host)) for name, host in fleet.hosts.items()} == {
        name: [] for name in fleet.hosts
    }, "a plan changes nothing"

    fleet.say("apply", *fleet.answers)

    (cluster,) = fleet.operator.json("cluster", "ls")
    workers = fleet.operator.json("worker", "ls")
    assert cluster["status"] == "ready"
    assert {worker["name"]: worker["status"] for worker in workers} == dict.fromkeys(
        WORKERS, "ready"
    )
    nothing_to_do_again(fleet)
    kept = {name: take(host) for name, host in fleet.hosts.items()}
    assert all(left(before[name], kept[name]) for name in fleet.hosts)  # so that it is one

    fleet.say("destroy", "--yes", *fleet.password)

    for name, host in fleet.hosts.items():
        assert "\n".join(left(before[name], take(host))) == "", name
    assert fleet.operator.json("host", "ls") == []


def nothing_to_do_again(fleet: Fleet) -> None:
    """A second apply has nothing to do, changes nothing, and runs little more than its checks."""
    before = {name: (take(host), commands_on(host)) for name, host in fleet.hosts.items()}

    again = json.loads(fleet.say("apply", *fleet.answers, "-o", "json"))

    assert (again["done"], again["failed"]) == ([], [])
    for name, host in fleet.hosts.items():
        seen, commands = before[name]
        assert commands_on(host) - commands - 1 <= MOST_COMMANDS, name  # one is the count itself
        assert left(seen, take(host), running=True) == []
