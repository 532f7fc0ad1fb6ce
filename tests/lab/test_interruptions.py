"""A bootstrap that is interrupted at a random moment is carried on by the same command.

Cables are pulled, the client is killed with its root, hosts lose their power. What comes of it
is compared with a run that nothing happened to: files, units, processes, ports, packet rules.
`OAKCTL_SEED` repeats what was seen.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.lab import fleet_file, interrupting
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.host_state import otherwise, take
from tests.lab.interrupting import Interruption
from tests.lab.operator_tool import Operator
from tests.lab.requirements import BOOT_TIMEOUT_S, MARKS
from tests.lab.snapshot import Snapshot

pytestmark = [*MARKS]

HOSTS = ("orch", "w-bookworm", "w-trixie")
ROUNDS = 5
SOAK_ROUNDS = 50
SOAK_TIMEOUT_S = SOAK_ROUNDS * 240


@dataclass(frozen=True)
class Bootstrap:
    """Hosts that know nothing yet, somebody who has never been there, and what he types."""

    hosts: dict[str, Host]
    operator: Operator
    command: tuple[str, ...]

    def state(self) -> dict[str, Snapshot]:
        """What has come of it on each host."""
        return {name: take(host) for name, host in self.hosts.items()}

    def converged(self) -> None:
        """Fail unless everything is ready."""
        everything = [*self.operator.json("cluster", "ls"), *self.operator.json("worker", "ls")]
        assert [each["status"] for each in everything] == ["ready"] * len(HOSTS), everything


Begin = Callable[[], Bootstrap]


@pytest.fixture
def begin(hosts: FleetHosts, new_operator: Callable[[], Operator]) -> Begin:
    """Makes bare hosts and a new operator."""

    def make() -> Bootstrap:
        bare, operator = hosts.bare(*HOSTS), new_operator()
        file = str(fleet_file.written(operator, bare))
        answers = ("--accept-new", "--yes", *fleet_file.password(operator, bare))
        return Bootstrap(bare, operator, ("fleet", "apply", "-f", file, *answers))

    return make


def undisturbed(bootstrap: Bootstrap) -> tuple[dict[str, Snapshot], int]:
    """What comes of it when nothing happens, and how many lines the command says."""
    said = bootstrap.operator.run(*bootstrap.command).stderr
    bootstrap.converged()
    return bootstrap.state(), len(said.splitlines())


def carried_on(bootstrap: Bootstrap, hosts: FleetHosts, interruption: Interruption) -> None:
    """Interrupt the command, then type it again."""
    operator, command = bootstrap.operator, bootstrap.command
    code, said = interrupting.interrupted(interruption, hosts, operator, command)
    sys.stdout.write(f"{interruption}; it ended with {code}\n")
    again = operator.run(*command, check=False)
    assert again.returncode == 0, f"{interruption}\n{said}\n--- again:\n{again.stderr}"
    bootstrap.converged()


def rounds_of(count: int, hosts: FleetHosts, begin: Begin) -> None:
    """Each round with bare hosts; every one ends as the run that nothing happened to."""
    seed = int(os.environ.get("OAKCTL_SEED", random.SystemRandom().randrange(1 << 32)))
    sys.stdout.write(f"OAKCTL_SEED={seed}\n")
    chance = random.Random(seed)
    kinds = chance.sample(interrupting.KINDS, len(interrupting.KINDS))
    bootstrap = begin()
    wanted, lines = undisturbed(bootstrap)
    bootstrap.operator.kill()
    for number in range(count):
        bootstrap = begin()
        interruption = interrupting.draw(chance, kinds[number % len(kinds)], HOSTS, lines)
        carried_on(bootstrap, hosts, interruption)
        for name, state in bootstrap.state().items():
            different = "\n".join(otherwise(wanted[name], state))
            assert not different, f"round {number} (OAKCTL_SEED={seed}), {interruption}: {name}"
        bootstrap.operator.kill()


def test_an_interrupted_bootstrap_is_carried_on(hosts: FleetHosts, begin: Begin) -> None:
    rounds_of(ROUNDS, hosts, begin)


@pytest.mark.soak
@pytest.mark.timeout(max(SOAK_TIMEOUT_S, BOOT_TIMEOUT_S))
def test_many_interrupted_bootstraps_are_carried_on(hosts: FleetHosts, begin: Begin) -> None:
    rounds_of(SOAK_ROUNDS, hosts, begin)
