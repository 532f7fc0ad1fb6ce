"""A bootstrap that is interrupted at a random moment is carried on by the same commands.

Cables are pulled, the client is killed with its root, hosts lose their power. What comes of it
is compared with a run that nothing happened to: files, units, processes, ports, packet rules.
`OAKCTL_SEED` repeats what was seen.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from oakctl.errors import ExitCode
from tests.lab import interrupting
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.host_state import otherwise, take
from tests.lab.operator_tool import Operator
from tests.lab.requirements import BOOT_TIMEOUT_S, MARKS
from tests.lab.snapshot import Snapshot

pytestmark = [*MARKS]

HOSTS = ("orch", "w-bookworm")
ROUNDS = 5
SOAK_ROUNDS = 50
SOAK_TIMEOUT_S = SOAK_ROUNDS * 240
# Making what is made already is a conflict, said as such.
CARRIED_ON = (0, int(ExitCode.CONFLICT))


@dataclass(frozen=True)
class Bootstrap:
    """Hosts that know nothing yet, somebody who knows them, and what he types."""

    hosts: dict[str, Host]
    operator: Operator
    commands: tuple[tuple[str, ...], ...]

    def state(self) -> dict[str, Snapshot]:
        """What has come of it on each host."""
        return {name: take(host) for name, host in self.hosts.items()}

    def converged(self) -> None:
        """Fail unless everything is ready."""
        (cluster,) = self.operator.json("cluster", "ls")
        (worker,) = self.operator.json("worker", "ls")
        assert cluster["status"] == "ready", cluster
        assert worker["status"] == "ready", worker


Begin = Callable[[], Bootstrap]


@pytest.fixture
def begin(hosts: FleetHosts, new_operator: Callable[[], Operator]) -> Begin:
    """Makes bare hosts and a new operator."""

    def make() -> Bootstrap:
        bare = hosts.bare(*HOSTS)
        operator = new_operator()
        for host in bare.values():
            operator.knows(host)
        password = operator.password_file(bare["w-bookworm"])
        create = ("cluster", "create", "edge", "--on", "orch", "--accept-new")
        add = ("worker", "add", "w1", "--cluster", "edge", "--on", "w-bookworm", "--accept-new")
        return Bootstrap(bare, operator, (create, (*add, *password)))

    return make


def undisturbed(bootstrap: Bootstrap) -> tuple[dict[str, Snapshot], list[int]]:
    """What comes of it when nothing happens, and how many lines each command says."""
    lines = []
    for command in bootstrap.commands:
        lines.append(len(bootstrap.operator.run(*command).stderr.splitlines()))
    bootstrap.converged()
    return bootstrap.state(), lines


def carried_on(
    bootstrap: Bootstrap, hosts: FleetHosts, chance: random.Random, lines: Sequence[int]
) -> str:
    """Interrupt one of the commands, then type them all again; what was done."""
    (place,) = chance.choices(range(len(lines)), lines)
    interruption = interrupting.draw(chance, HOSTS, lines[place])
    for command in bootstrap.commands[:place]:
        bootstrap.operator.run(*command)
    command = bootstrap.commands[place]
    code, said = interrupting.interrupted(interruption, hosts, bootstrap.operator, command)
    sys.stdout.write(f"{' '.join(command[:3])}: {interruption}; it ended with {code}\n")
    for again in bootstrap.commands:
        done = bootstrap.operator.run(*again, check=False)
        assert done.returncode in CARRIED_ON, f"{interruption}\n{said}\n--- again:\n{done.stderr}"
    return str(interruption)


def rounds_of(count: int, hosts: FleetHosts, begin: Begin) -> None:
    """Each round with bare hosts; every one ends as the run that nothing happened to."""
    seed = int(os.environ.get("OAKCTL_SEED", random.SystemRandom().randrange(1 << 32)))
    sys.stdout.write(f"OAKCTL_SEED={seed}\n")
    chance = random.Random(seed)
    bootstrap = begin()
    wanted, lines = undisturbed(bootstrap)
    bootstrap.operator.kill()
    for number in range(count):
        bootstrap = begin()
        what = carried_on(bootstrap, hosts, chance, lines)
        bootstrap.converged()
        for name, state in bootstrap.state().items():
            different = "\n".join(otherwise(wanted[name], state))
            assert not different, f"round {number} (OAKCTL_SEED={seed}), {what}: {name}"
        bootstrap.operator.kill()


def test_an_interrupted_bootstrap_is_carried_on(hosts: FleetHosts, begin: Begin) -> None:
    rounds_of(ROUNDS, hosts, begin)


@pytest.mark.soak
@pytest.mark.timeout(max(SOAK_TIMEOUT_S, BOOT_TIMEOUT_S))
def test_many_interrupted_bootstraps_are_carried_on(hosts: FleetHosts, begin: Begin) -> None:
    rounds_of(SOAK_ROUNDS, hosts, begin)
