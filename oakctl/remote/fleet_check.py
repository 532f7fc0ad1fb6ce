"""What shows only when several hosts are looked at together: clocks and copies. Pure.

Belongs here: comparisons between hosts. Does not belong here: rules for one host (`preflight`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from oakctl.model.views import HostFinding
from oakctl.remote import preflight
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import PythonArchive

MOST_SKEW_S = 30.0
CERTIFICATE_SLACK_S = 86400.0  # certificates count from a day before they were made


def check(
    hosts: Mapping[str, HostFacts],
    *,
    passwords: Iterable[str] = (),
    archives: Sequence[PythonArchive] = (),
) -> list[HostFinding]:
    """All findings of all hosts. `passwords`: the hosts for which one was given for sudo;
    `archives`: the Pythons that could be pushed."""
    given = frozenset(passwords)
    found = [
        finding
        for name, facts in hosts.items()
        for finding in preflight.check(name, facts, password_given=name in given, archives=archives)
    ]
    # Hosts of a loopback lab are one machine on purpose.
    own = {n: f for n, f in hosts.items() if not f.supervisor.startswith("plain:")}
    return preflight.in_order([*found, *_clocks(hosts), *_copies(own)])


def _clocks(hosts: Mapping[str, HostFacts]) -> Iterator[HostFinding]:
    offsets = {n: f.clock - f.asked_at for n, f in hosts.items() if f.clock and f.asked_at}
    if not offsets:
        return
    # Of two the operator's own clock decides, as it does for one.
    middle = statistics.median(offsets.values()) if len(offsets) > 2 else 0.0
    for name, offset in offsets.items():
        away = offset - middle
        if abs(away) <= MOST_SKEW_S:
            continue
        word = "behind" if away < 0 else "ahead of"
        late = ": certificates are not valid there yet" if away < -CERTIFICATE_SLACK_S else ""
        yield HostFinding(
            name,
            preflight.FIXABLE,
            "clock",
            f"its clock is {abs(away):.0f} s {word} the others'{late}",
            f"ssh to it: sudo date -u -s @{hosts[name].asked_at + middle:.0f} "
            "&& sudo timedatectl set-ntp true",
        )


def _copies(hosts: Mapping[str, HostFacts]) -> Iterator[HostFinding]:
    for name, others in _shared(hosts, lambda facts: (facts.machine_id,)):
        yield HostFinding(
            name,
            preflight.FIXABLE,
            "copy",
            f"it has the machine-id of {others}: a copied image, or one machine by two names",
            "on it: sudo rm /etc/machine-id && sudo systemd-machine-id-setup && sudo reboot",
        )
    for name, others in _shared(hosts, lambda facts: facts.host_keys):
        yield HostFinding(
            name,
            preflight.FIXABLE,
            "copy",
            f"it shows the SSH host key of {others}: neither can be told from the other",
            "on it: sudo rm /etc/ssh/ssh_host_* && sudo ssh-keygen -A; then restart ssh",
        )
    for name, others in _shared(hosts, lambda facts: (facts.hostname,)):
        yield HostFinding(
            name,
            preflight.NOTE,
            "copy",
            f"it calls itself {hosts[name].hostname}, as does {others}; "
            "here it goes by the name that it was given",
            f"on it: sudo hostnamectl set-hostname {name}",
        )
    for name, others in _shared(hosts, lambda facts: (facts.docker.engine_id,)):
        yield HostFinding(
            name,
            preflight.NOTE,
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
