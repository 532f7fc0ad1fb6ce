"""What a change of the fleet does, in the words of its question.

Belongs here: target and consequence, so that nobody answers in the dark. Does not belong here:
asking (`screens.confirm`), making the change (`tui.doing`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from oakctl import sla
from oakctl.errors import UsageError
from oakctl.model.instance import InstanceState
from oakctl.model.views import InstanceView, ServiceView, WorkerView
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.snapshot import Snapshot

MOST_REPLICAS = 10_000
_GONE = (InstanceState.COMPLETED, InstanceState.UNDEPLOYED)


@dataclass(frozen=True)
class Question:
    """What is asked before a change: `title` names the target, `yes` the deed."""

    title: str
    consequences: tuple[str, ...]
    yes: str
    command: str  # the same from a shell


def replicas(text: str) -> int:
    """A number of instances as typed; raises UsageError."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= MOST_REPLICAS:
        raise UsageError(f"{text!r} is no number of instances", hint=f"0 to {MOST_REPLICAS}")
    return number


def scale(view: ServiceView, wanted: int) -> Question:
    """To another number of instances; raises UsageError where that is no change."""
    more = wanted - view.wanted
    if more == 0:
        raise UsageError(f"{view.name} has {words.count(wanted, 'wanted instance')} already")
    if more > 0:
        ask = words.amounts(view.requests)
        told = [f"{words.count(more, 'instance')} more will be placed, each asking for {ask}"]
    else:
        told = [f"{words.count(-more, 'instance')} will be stopped"]
    if wanted == 0:
        told.append("none is left: the service will answer nobody")
    return Question(
        f"Scale {view.job_name} from {view.wanted} to {wanted}?",
        tuple(told),
        "Scale",
        f"oakctl service scale {view.job_name} {wanted}",
    )


def restart(view: ServiceView) -> Question:
    """New instances for old ones."""
    count = words.count(view.wanted, "instance")
    return Question(
        f"Restart {view.job_name}?",
        (
            f"{count} will be replaced, one after the other, each by a new one first",
            "one that does not become ready ends it, and what runs now goes on",
        ),
        "Restart",
        f"oakctl service restart {view.job_name}",
    )


def migrate(view: InstanceView, to: str) -> Question:
    """An instance to another worker."""
    return Question(
        f"Move {view.name} to {to}?",
        (
            f"a new instance is started on {to}",
            f"when it is ready, the one on {view.cluster}/{view.worker} is stopped",
        ),
        "Move",
        f"oakctl service migrate {view.name} --to {to}",
    )


def delete(view: ServiceView, snapshot: Snapshot) -> Question:
    """The application of a service, with all that belongs to it."""
    services = [each for each in snapshot.services if each.application == view.application]
    jobs = {each.job_name for each in services}
    running = sum(each.job_name in jobs and each.state not in _GONE for each in snapshot.instances)
    names = ", ".join(sorted(each.name for each in services))
    return Question(
        f"Delete application {view.application}?",
        (
            f"its {words.count(len(services), 'service')} will be gone: {names}",
            f"{words.count(running, 'instance')} will be stopped",
            "this cannot be taken back; apply the descriptor to have it again",
        ),
        "Delete",
        f"oakctl app delete {view.application} --yes",
    )


def cordon(view: WorkerView, instances: tuple[InstanceView, ...]) -> Question:
    """Nothing new for a worker."""
    name = f"{view.cluster}/{view.name}"
    return Question(
        f"Cordon worker {name}?",
        (
            "it will be given nothing new",
            f"{words.count(len(_on(view, instances)), 'instance')} on it will go on",
        ),
        "Cordon",
        f"oakctl worker cordon {name}",
    )


def uncordon(view: WorkerView) -> Question:
    """A worker takes instances again."""
    name = f"{view.cluster}/{view.name}"
    return Question(
        f"Uncordon worker {name}?",
        ("it will take new instances again; those that were moved away stay where they are",),
        "Uncordon",
        f"oakctl worker uncordon {name}",
    )


def drain(view: WorkerView, instances: tuple[InstanceView, ...], others: int) -> Question:
    """A worker is emptied; `others` is how many ready workers there are besides."""
    name = f"{view.cluster}/{view.name}"
    here = _on(view, instances)
    told = ["it will be cordoned, and stay a worker"]
    if here:
        what = words.count(len(here), "instance")
        told.append(f"{what} on it will be placed elsewhere, then stopped here")
    else:
        told.append("nothing runs on it")
    if here and not others:
        told.append("no other worker is ready: they will wait until there is a place")
    return Question(f"Drain worker {name}?", tuple(told), "Drain", f"oakctl worker drain {name}")


def _on(view: WorkerView, instances: tuple[InstanceView, ...]) -> list[InstanceView]:
    return [
        each
        for each in instances
        if (each.cluster, each.worker) == (view.cluster, view.name) and each.state not in _GONE
    ]


def apply(file: str, text: str) -> Question:
    """A descriptor's applications."""
    described = sla.parse(text).descriptor
    applications = described.applications if described is not None else ()
    told = [
        f"{each.application_name}.{each.application_namespace}: "
        f"{words.count(len(each.microservices), 'service')}"
        for each in applications
    ]
    told.append(f"{file} is saved first")
    return Question(
        f"Run what {file} describes?",
        tuple(told),
        "Run it",
        f"oakctl app apply -f {shlex.quote(file)}",
    )
