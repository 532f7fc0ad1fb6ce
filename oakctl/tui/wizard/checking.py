"""The matrix of what looking at hosts has shown: host × topic, with what to type. Pure.

Belongs here: its rows, and which hosts can be used. Does not belong here: looking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oakctl.fleet.state import Fault, Seen
from oakctl.model.views import HostFinding, HostMachine, HostView
from oakctl.tui.viewmodels import status
from oakctl.tui.viewmodels.rows import Row, cell, status_cell
from oakctl.tui.viewmodels.status import Status, Tone
from oakctl.tui.wizard.proposing import describe

COLUMNS = ("Host", "State", "Finds", "What it is")
UNKNOWN_KEY = "is not known"  # how `remote.hostkeys` says it
_MARKS = {"block": "✗", "fixable": "▲", "note": "·"}


@dataclass(frozen=True)
class Checked:
    """What is known of the hosts of the draft."""

    faults: Mapping[str, Fault] = field(default_factory=dict)  # hosts that could not be asked
    findings: tuple[HostFinding, ...] = ()
    machines: Mapping[str, HostMachine] = field(default_factory=dict)
    asks_password: tuple[str, ...] = ()

    @classmethod
    def of(cls, seen: Seen) -> Checked:
        """From a look."""
        return cls(
            {fault.host: fault for each in seen.checks.values() if (fault := each.fault)},
            seen.findings,
            {machine.host: machine for machine in seen.machines},
            seen.asks_password,
        )

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Hosts whose key has to be trusted before they can be asked."""
        return tuple(name for name, fault in self.faults.items() if UNKNOWN_KEY in fault.message)

    def unusable(self, hosts: Sequence[HostView]) -> set[str]:
        """Hosts that cannot be used as they are."""
        blocked = {each.host for each in self.findings if each.severity == "block"}
        return {host.name for host in hosts if host.name in blocked or host.name in self.faults}


def rows(
    hosts: Sequence[HostView], checked: Checked | None, left_out: Collection[str]
) -> tuple[Row, ...]:
    """One for each host."""
    return tuple(_row(host, checked, host.name in left_out) for host in hosts)


def _row(host: HostView, checked: Checked | None, left_out: bool) -> Row:
    if left_out:
        state = Status("○", "left out", Tone.IDLE)
    elif checked is None:
        state = Status("◐", "asking", Tone.BUSY)
    elif host.name in checked.unusable([host]):
        state = Status("✗", "not usable", Tone.BAD)
    elif host.name in checked.asks_password:
        state = Status("▲", "asks a password", Tone.WARNING)
    else:
        state = status.of_word("ready")
    found = [each for each in checked.findings if each.host == host.name] if checked else []
    marks = dict.fromkeys(f"{each.topic} {_MARKS.get(each.severity, '?')}" for each in found)
    machine = checked.machines.get(host.name) if checked else None
    cells = (
        cell(host.name),
        status_cell(state),
        cell("  ".join(marks)),
        cell(describe(machine) if machine else host.place),
    )
    return Row(host.name, cells)


def details(host: str, checked: Checked | None) -> Iterator[str]:
    """What was found on a host, worst first, each with its remedy."""
    if checked is None:
        return
    fault = checked.faults.get(host)
    if fault is not None:
        yield f"✗ {fault.message}"
        yield from (f"  {detail}" for detail in fault.details)
        if UNKNOWN_KEY in fault.message:
            yield "  → t shows its key and trusts it"
        elif fault.hint:
            yield f"  → {fault.hint}"
    if host in checked.asks_password:
        yield "▲ sudo asks for a password there"
        yield "  → p gives it to the root, which keeps it in memory alone"
    for found in checked.findings:
        if found.host == host and not (fault is not None and found.severity == "block"):
            yield f"{_MARKS.get(found.severity, '?')} {found.topic}: {found.message}"
            if found.remedy:
                yield f"  → {found.remedy}"
