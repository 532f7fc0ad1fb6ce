"""What shows only when several hosts are looked at together: clocks and copies. Pure.

Belongs here: comparisons between hosts. Does not belong here: rules for one host (`preflight`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from oakctl.model.views import HostFinding
from oakctl.remote import preflight
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import FIXABLE, NOTE, in_order
from oakctl.remote.interpreter import PythonArchive

MOST_SKEW_S = 30.0
CERTIFICATE_SLACK_S = 86400.0  # certificates count from a day before they were made
HERE = "here"  # the operator's machine, as a finding's host


def check(
    hosts: Mapping[str, HostFacts],
    *,
    passwords: Iterable[str] = (),
    roles: Mapping[str, str] | None = None,
    archives: Sequence[PythonArchive] = (),
) -> list[HostFinding]:
    """All findings of all hosts, worst first.

    `passwords`: the hosts for which one was given for sudo. `roles`: what this root has made of a
    host; what is there beside that is somebody else's. `archives`: the Pythons that could be
    pushed.
    """
    given, known = frozenset(passwords), roles or {}
    found = [
        finding
        for name, facts in hosts.items()
        for finding in preflight.check(
            name,
            facts,
            password_given=name in given,
            known_role=known.get(name, ""),
            archives=archives,
        )
    ]
    # Hosts of a loopback lab are one machine on purpose.
    own = {n: f for n, f in hosts.items() if not f.supervisor.startswith("plain:")}
    return in_order([*found, *_clocks(hosts), *_copies(own)])


def _clocks(hosts: Mapping[str, HostFacts]) -> Iterator[HostFinding]:
    told = {n: f for n, f in hosts.items() if f.clock and f.asked_at}
    offsets = {name: facts.clock - facts.asked_at for name, facts in told.items()}
    if not offsets:
        return
    # Of two the operator's own clock decides, as it does for one.
    middle = statistics.median(offsets.values()) if len(offsets) > 2 else 0.0
    for name, offset in offsets.items():
        away = offset - middle
        # What the answer was on its way may be all there is to it.
        if abs(away) > MOST_SKEW_S + told[name].clock_error_s:
            yield _clock(name, away, told[name].asked_at + middle)
    if abs(middle) > MOST_SKEW_S + max(facts.clock_error_s for facts in told.values()):
        yield _own_clock(middle)


def _clock(name: str, away: float, right: float) -> HostFinding:
    word = "behind" if away < 0 else "ahead of"
    late = ": certificates are not valid there yet" if away < -CERTIFICATE_SLACK_S else ""
    return HostFinding(
        name,
        FIXABLE,
        "clock",
        f"its clock is {abs(away):.0f} s {word} the others'{late}",
        f"ssh to it: sudo date -u -s @{right:.0f} && sudo timedatectl set-ntp true",
    )


def _own_clock(middle: float) -> HostFinding:
    word = "ahead of" if middle < 0 else "behind"
    late = middle < -CERTIFICATE_SLACK_S
    return HostFinding(
        HERE,
        FIXABLE if late else NOTE,
        "clock",
        f"the clock of this machine is {abs(middle):.0f} s {word} those of the hosts"
        + (": certificates made here are not valid there yet" if late else ""),
        "sudo timedatectl set-ntp true",
    )


def _copies(hosts: Mapping[str, HostFacts]) -> Iterator[HostFinding]:
    for name, others in _shared(hosts, lambda facts: (facts.machine_id,)):
        yield HostFinding(
            name,
            FIXABLE,
            "copy",
            f"it has the machine-id of {others}: a copied image, or one machine by two names",
            "on it: sudo rm /etc/machine-id && sudo systemd-machine-id-setup && sudo reboot",
        )
    for name, others in _shared(hosts, lambda facts: facts.host_keys):
        yield HostFinding(
            name,
            FIXABLE,
            "copy",
            f"it shows the SSH host key of {others}: neither can be told from the other",
            "on it: sudo rm /etc/ssh/ssh_host_* && sudo ssh-keygen -A; then restart ssh",
        )
    for name, others in _shared(hosts, lambda facts: (facts.hostname,)):
        yield HostFinding(
            name,
            NOTE,
            "copy",
            f"it calls itself {hosts[name].hostname}, as does {others}; "
            "here it goes by the name that it was given",
            f"on it: sudo hostnamectl set-hostname {name}",
        )
    for name, others in _shared(hosts, lambda facts: (facts.docker.engine_id,)):
        yield HostFinding(
            name,
            NOTE,
            "copy",
            f"its Docker has the identity of that of {others}",
            "on it: sudo rm -f /var/lib/docker/engine-id && sudo systemctl restart docker",
        )


def _shared(
    hosts: Mapping[str, HostFacts], marks: Callable[[HostFacts], tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """Each host with those that have a mark in common with it."""
    for name, facts in hosts.items():
        own = {mark for mark in marks(facts) if mark}
        others = [n for n, f in hosts.items() if n != name and own & set(marks(f))]
        if others:
            yield name, ", ".join(others)
