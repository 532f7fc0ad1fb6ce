"""From a host that answers SSH to an orchestrator or a worker, and back.

Belongs here: which playbooks make which role, what they are given, and what the root gets back.
Does not belong here: single steps (`playbooks/`), and when a role is wanted
(`orchestration.root`). Every call blocks, can be repeated, and carries on where one was cut off.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from oakctl.errors import OakError, Unreachable
from oakctl.model.config import BUS_PORT
from oakctl.model.views import StepEvent
from oakctl.remote import (
    connection,
    devices,
    facts,
    hooks,
    interpreter,
    playbook,
    residence,
    runner,
)
from oakctl.remote.connection import FabricRemote
from oakctl.remote.facts import HostFacts
from oakctl.remote.hostlock import LEASE_S, SLACK_S, Waiting, host_lock
from oakctl.remote.inputs import ClusterInputs as ClusterInputs
from oakctl.remote.inputs import WorkerInputs as WorkerInputs
from oakctl.remote.inputs import bus_address
from oakctl.remote.privilege import WrongPassword
from oakctl.remote.residence import Homeless, Residence
from oakctl.remote.runner import Report
from oakctl.remote.step import LAST_LINES, Remote, Step
from oakctl.remote.target import Target

MOST_SKEW_S = 12 * 3600.0  # the certificates are valid from yesterday on


@dataclass(frozen=True)
class ClusterAccess:
    """How the cluster's bus is reached: by its workers, and by the root through SSH."""

    bus_address: str
    bus_port: int
    tunnel_host: str
    tunnel_port: int
    ca_pem: str
    tls_hostname: str
    account: str = ""  # of a root that another operator has let in; empty: the owner's


def cluster_plan(inputs: ClusterInputs) -> list[Step]:
    """Every step that makes an orchestrator, to be shown or run."""
    plan = [
        *_steps("base", "cluster"),
        *_steps("bus", inputs),
        *_steps("cluster", inputs),
        tidy_python(),
    ]
    return hooks.woven(plan)


def worker_plan(inputs: WorkerInputs, remote: Remote) -> list[Step]:
    """Every step that makes a worker of this host, to be shown or run."""
    found = devices.playbooks_for(remote.facts, remote.residence, docker=inputs.docker)
    plan = [
        *(step for name in found for step in playbook.steps(name, {})),
        *playbook.steps("overlay", {"overlay": inputs.overlay}),
        *_steps("base", "worker"),
        *_steps("worker", inputs),
        tidy_python(),
    ]
    return hooks.woven(plan)


def removal_plan(role: str) -> list[Step]:
    """Every step that takes a role (worker, cluster) off a host."""
    return hooks.woven(_steps("uninstall", role))


def playbook_plan(name: str, settings: Mapping[str, str]) -> list[Step]:
    """Every step of one playbook, with the user's hooks; raises NotFound, UsageError."""
    return hooks.woven(playbook.steps(name, settings))


def bootstrap_cluster(
    target: Target, inputs: ClusterInputs, report: Report, cancelled: threading.Event
) -> ClusterAccess:
    """Make the host an orchestrator with its bus; raises the OakError of the step that failed."""
    with _held(target, report, cancelled) as remote:
        runner.run(cluster_plan(inputs), remote, report, cancelled)
        address = bus_address(remote)
        certificate = remote.read(remote.layout.etc("bus/ca.pem")) or b""
        return ClusterAccess(
            bus_address=address or remote.address,
            bus_port=BUS_PORT,
            tunnel_host=address or "127.0.0.1",
            tunnel_port=BUS_PORT,
            ca_pem=certificate.decode(),
            tls_hostname=inputs.cluster,
        )


def bootstrap_worker(
    target: Target, inputs: WorkerInputs, report: Report, cancelled: threading.Event
) -> HostFacts:
    """Make the host a worker; raises the OakError of the step that failed."""
    with _held(target, report, cancelled) as remote:
        plan = worker_plan(inputs, remote)
        runner.run(plan, remote, report, cancelled, allow_reboot=inputs.allow_reboot)
        return remote.facts


def look(target: Target) -> HostFacts:
    """What is to be known of a host; nothing is changed there.

    A password that was given for sudo is tried, once: raises WrongPassword.
    """
    with connection.open_fabric(target) as remote:
        if target.sudo_password:
            remote.require_rights()
        return seen(remote)


def seen(remote: FabricRemote) -> HostFacts:
    """The facts, and what the first questions do not see: a Python that we pushed, and with a
    password the firewall. Raises WrongPassword, Unreachable."""
    found = with_pushed_python(remote)
    if found.privilege != "sudo-password" or not remote.has_password:
        return found
    try:
        return facts.with_firewall(remote, found)
    except (WrongPassword, Unreachable):
        raise
    except OakError:
        return found  # why there are no rights is told where they are needed


def with_pushed_python(remote: FabricRemote) -> HostFacts:
    """The facts, and the Python that we pushed earlier where that can be seen."""
    found = remote.residence
    hidden = isinstance(found, Homeless) or (
        found.as_root and remote.facts.privilege == "sudo-password" and not remote.has_password
    )
    if remote.facts.python or hidden:
        return remote.facts
    return replace(remote.facts, python_there=remote.python_there)


def remove(target: Target, role: str, report: Report, cancelled: threading.Event) -> None:
    """Take `role` off the host; with its last role goes everything of ours. Twice is fine."""
    with connection.open_fabric(target) as remote, runner.ended_by(cancelled, remote):
        found = residence.where_to_remove(remote.name, remote.facts, remote.residence)
        if found is None:
            report(_event(remote, "host: found", "nothing of ours is there"))
            return
        if found.as_root:
            remote.require_rights()
        with host_lock(remote, _waiting(remote, report)):
            runner.run(removal_plan(role), remote, report, cancelled)


@contextmanager
def _held(target: Target, report: Report, cancelled: threading.Event) -> Iterator[FabricRemote]:
    """The host, found usable, and held for this run."""
    with connection.open_fabric(target) as remote, runner.ended_by(cancelled, remote):
        admit(remote, report)
        with host_lock(remote, _waiting(remote, report)):
            yield remote


def _waiting(remote: FabricRemote, report: Report) -> Waiting:
    """Tells that another run holds the host, or did a moment ago."""
    patience = f"waiting up to {LEASE_S + SLACK_S} s for a run that has gone silent"

    def tell(holder: str) -> None:
        said = f"held by {holder or 'a run not known'}: {patience}"
        report(StepEvent(time.time(), remote.name, "host: lock", "running", said))

    return tell


@dataclass(frozen=True)
class Look:
    """A plan for a host, made when that is there to be asked."""

    plan: Callable[[Remote], list[Step]]
    allow_reboot: bool = False


@dataclass(frozen=True)
class Survey:
    """What a host is, and for each plan what running it would do, or why that cannot be said."""

    facts: HostFacts
    plans: tuple[tuple[StepEvent, ...] | OakError, ...]


def survey(target: Target, looks: Sequence[Look]) -> Survey:
    """Look at a host; nothing is changed there, not even a lock made.

    A password that was given for sudo is tried, once: raises WrongPassword.
    """
    with connection.open_fabric(target) as remote:
        return Survey(seen(remote), tuple(_looked(each, remote) for each in looks))


def _looked(look: Look, remote: FabricRemote) -> tuple[StepEvent, ...] | OakError:
    try:
        _require_usable(remote)
        return tuple(runner.look(look.plan(remote), remote, allow_reboot=look.allow_reboot))
    except (WrongPassword, Unreachable):
        raise
    except OakError as error:
        return error


def roll_back(
    target: Target, role: str, bad: str, report: Report, cancelled: threading.Event
) -> tuple[str, ...]:
    """Have `role` run from the release before `bad` again; what its process wrote last is given.

    Raises OakError where there is no release before.
    """
    steps = playbook.load("rollback").steps(role, bad)
    with _held(target, report, cancelled) as remote:
        log = remote.layout.log("agent" if role == "worker" else "orchestrator")
        said = remote.run(f"tail -n {LAST_LINES} {shlex.quote(log)}", check=False).last_lines()
        runner.run(steps, remote, report, cancelled)
        return said


def run_playbook(
    target: Target,
    name: str,
    settings: Mapping[str, str],
    report: Report,
    cancelled: threading.Event,
    *,
    allow_reboot: bool = False,
) -> None:
    """Run one playbook, ours or the user's; raises the OakError of the step that failed."""
    plan = playbook_plan(name, settings)
    with _held(target, report, cancelled) as remote:
        runner.run(plan, remote, report, cancelled, allow_reboot=allow_reboot)


def admit(remote: FabricRemote, report: Report) -> None:
    """Return when the host can be made ours, and tell how; raises OakError with what is missing.

    A password is tried here, once, before anything is done.
    """
    found = _require_usable(remote)
    choice = f"{found.supervisor}, below {found.prefix}: {found.reason}"
    report(_event(remote, "host: found", choice))
    report(_event(remote, "host: python", remote.interpreter.reason))


def _require_usable(remote: FabricRemote) -> Residence:
    found = residence.require_usable(remote.name, remote.facts, remote.residence)
    require_clock(remote.name, remote.facts)
    if found.as_root:
        remote.require_rights()
    place = residence.place_of(remote.facts, found)
    interpreter.require_room(remote.name, remote.interpreter, place, found.prefix)
    return found


def require_clock(host: str, facts: HostFacts) -> None:
    """Return when the certificates that are made now are valid by the host's clock.

    A host without a battery for its clock wakes in 1970. Raises OakError.
    """
    if facts.clock and facts.asked_at and abs(facts.clock - facts.asked_at) > MOST_SKEW_S:
        there = datetime.fromtimestamp(facts.clock, timezone.utc)
        raise OakError(
            f"{host}: its clock is wrong: it says {there:%Y-%m-%d %H:%M} UTC",
            hint=f"set it on the host: sudo date -u -s @{facts.asked_at:.0f}",
        )


def _event(remote: Remote, step: str, message: str) -> StepEvent:
    return StepEvent(time.time(), remote.name, step, "skipped", message)


def tidy_python() -> Step:
    """What is done when everything of a role runs by the interpreter in use."""
    step: Step = playbook.load("python").tidy()
    return step


def _steps(name: str, inputs: object) -> list[Step]:
    return playbook.steps_for(name, inputs)
