"""What stands in the way on hosts, and what to type: from the facts of all of them. Pure.

Belongs here: all rules for one host together, and those about where we would live there. Does not
belong here: what shows only among several (`fleet_check`), asking hosts (`facts`), doing anything
about a finding (the playbooks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from oakctl.model.overlay import TUNNEL_PORT
from oakctl.model.views import HostFinding
from oakctl.remote import (
    install_rules,
    interpreter,
    machine_rules,
    network_rules,
    overlay_choice,
    residence,
)
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import BLOCK, FIXABLE, NOTE, in_order
from oakctl.remote.interpreter import Interpreter, NoInterpreter, PythonArchive
from oakctl.remote.residence import Residence

Rule = Callable[[str, HostFacts], Iterator[HostFinding]]
RULES: tuple[Rule, ...] = (
    machine_rules.architecture,
    machine_rules.memory_groups,
    network_rules.docker,
    network_rules.kernel,
    network_rules.network,
    network_rules.firewalls,
    network_rules.input_policy,
    network_rules.ports,
    machine_rules.packages,
    machine_rules.devices,
)


def check(
    host: str,
    facts: HostFacts,
    *,
    password_given: bool = False,
    known_role: str = "",
    archives: Iterable[PythonArchive] = (),
) -> list[HostFinding]:
    """Everything that shows on this host alone, worst first.

    `known_role` is what this root has made of it: "orchestrator of edge, worker edge/w1".
    `archives`: the Pythons that could be pushed.
    """
    found = [finding for rule in RULES for finding in rule(host, facts)]
    found += install_rules.installs(host, facts, known_role)
    found += _python(host, facts, archives, password_given)
    found += _residence(host, facts, password_given)
    return in_order(found)


def _residence(host: str, facts: HostFacts, password_given: bool) -> Iterator[HostFinding]:
    chosen = residence.choose(facts, password_given=password_given)
    for topic, error in residence.faults(host, facts, chosen):
        yield HostFinding(host, BLOCK, topic, error.message.removeprefix(f"{host}: "), error.hint)
    if isinstance(chosen, Residence):
        yield HostFinding(
            host, NOTE, "host", f"{chosen.supervisor}, below {chosen.prefix}: {chosen.reason}", ""
        )
        yield from _overlay(host, facts, chosen)
        yield from _rights(host, facts, chosen, password_given)
        yield from _no_exec(host, facts, chosen)


def _python(
    host: str, facts: HostFacts, archives: Iterable[PythonArchive], password_given: bool
) -> Iterator[HostFinding]:
    chosen = interpreter.choose(facts, archives, facts.python_there)
    home = residence.choose(facts, password_given=password_given)
    hindrance: NoInterpreter | None = None
    if isinstance(chosen, NoInterpreter):
        hindrance = chosen
    elif isinstance(home, Residence):
        place = residence.place_of(facts, home)
        hindrance = interpreter.hindrance(chosen, place, home.prefix)
    if hindrance is not None:
        yield HostFinding(host, BLOCK, "python", hindrance.reason, hindrance.remedy)
    elif isinstance(chosen, Interpreter) and not chosen.own:
        yield HostFinding(host, NOTE, "python", chosen.reason, "")


def _overlay(host: str, facts: HostFacts, home: Residence) -> Iterator[HostFinding]:
    """What a worker there gets, as far as that shows now."""
    found = overlay_choice.by_facts(facts, home)
    if found.driver == overlay_choice.LOOPBACK:
        return
    word = f"overlay {found}"
    if found.driver == overlay_choice.HOST:
        word = f"no overlay for a worker there (driver host): {found.reason}"
    overlaps = any(overlay_choice.overlapping(facts.network.routes))
    remedy = "give that network other addresses; the overlay's are fixed" if overlaps else ""
    yield HostFinding(host, FIXABLE if overlaps else NOTE, "overlay", word, remedy)
    if facts.network.tunnel_port_taken and found.driver == overlay_choice.KERNEL:
        yield HostFinding(
            host,
            FIXABLE,
            "overlay",
            f"UDP port {TUNNEL_PORT} is in use, by another WireGuard perhaps: "
            "others cannot begin a tunnel to here",
            "give it another port: oakctl worker add ... --endpoint :51821",
        )


def _rights(
    host: str, facts: HostFacts, chosen: Residence, password_given: bool
) -> Iterator[HostFinding]:
    refusal = facts.sudo_refusal
    if facts.privilege == "sudo-password" and ("tty" in refusal or "terminal is req" in refusal):
        yield HostFinding(
            host,
            BLOCK,
            "sudo",
            "sudo wants a terminal (requiretty)",
            f"on it, as root: echo 'Defaults:{facts.user} !requiretty' >/etc/sudoers.d/90-oakctl",
        )
    elif chosen.as_root and facts.privilege == "sudo-password" and not password_given:
        yield HostFinding(
            host, NOTE, "sudo", f"sudo asks {facts.user} for a password", "it is asked for, once"
        )
    if chosen.supervisor == residence.USER and not facts.lingers:
        yield HostFinding(
            host,
            NOTE,
            "systemd",
            f"processes of {facts.user} end with the session as it is",
            "it is changed while the host is set up (loginctl enable-linger)",
        )


def _no_exec(host: str, facts: HostFacts, chosen: Residence) -> Iterator[HostFinding]:
    if residence.place_of(facts, chosen).no_exec:
        yield HostFinding(
            host,
            FIXABLE,
            "disk",
            f"programs do not start below {chosen.prefix}: it is mounted noexec; "
            "the bus of a cluster is one",
            "use it as a worker, or mount it without noexec in /etc/fstab",
        )
