"""Interruptions of a bootstrap, each drawn from a seed: which, on what, at which moment.

Belongs here: drawing one and carrying it out. Does not belong here: what has to come of it
(`test_interruptions`).
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.fleet_hosts import FleetHosts
from tests.lab.operator_tool import COMMAND_S, Operator

KINDS = ("link", "client", "power")
LONGEST_DELAY_S = 0.8  # about what a step takes
LONGEST_AWAY_S = 6.0
STEP_S = 0.05


@dataclass(frozen=True)
class Interruption:
    """`line`: after this many lines that the command said, and `delay_s` later.

    `away_s`: how long the link or the power is gone; without it, until the command has ended.
    """

    kind: str
    host: str
    line: int
    delay_s: float
    away_s: float | None

    def __str__(self) -> str:
        moment = f"{self.delay_s:.2f} s after line {self.line}"
        if self.kind == "client":
            return f"client killed {moment}"
        away = "until the command ended" if self.away_s is None else f"for {self.away_s:.1f} s"
        return f"{self.kind} of {self.host} cut {moment}, {away}"


def draw(chance: random.Random, kind: str, hosts: Sequence[str], lines: int) -> Interruption:
    """One of `kind`, of a command that says `lines` lines when nothing happens to it."""
    return Interruption(
        kind,
        chance.choice(hosts),
        chance.randrange(lines),
        chance.uniform(0, LONGEST_DELAY_S),
        chance.choice((None, chance.uniform(0, LONGEST_AWAY_S))),
    )


def interrupted(
    interruption: Interruption, hosts: FleetHosts, operator: Operator, command: Sequence[str]
) -> tuple[int | None, str]:
    """Run `command` and interrupt it; its exit code (None when it was killed) and what it said.

    Afterwards every host is on and connected again.
    """
    process = operator.start(*command)
    assert process.stdout is not None
    said = []
    for _ in range(interruption.line):
        said.append(process.stdout.readline())
    _pass(process, interruption.delay_s)
    if interruption.kind == "client":
        operator.kill()
        process.communicate()
        return None, "".join(said)
    _strike(interruption, hosts)
    try:
        if interruption.away_s is not None:
            _pass(process, interruption.away_s)
        else:
            said.append(process.communicate(timeout=COMMAND_S)[0])
    finally:
        _repair(interruption, hosts)
    said.append(process.communicate(timeout=COMMAND_S)[0] if process.poll() is None else "")
    return process.returncode, "".join(said)


def _strike(interruption: Interruption, hosts: FleetHosts) -> None:
    lab = hosts.lab()
    strike = lab.cut_host if interruption.kind == "link" else lab.power_cut
    asyncio.run(strike(interruption.host))


def _repair(interruption: Interruption, hosts: FleetHosts) -> None:
    lab = hosts.lab()
    repair = lab.heal_host if interruption.kind == "link" else lab.start_host
    asyncio.run(repair(interruption.host))


def _pass(process: subprocess.Popen[str], seconds: float) -> None:
    """Let time pass, but not more than the command takes: it is the random moment."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(STEP_S)
