"""A status as glyph, word and meaning: never told by colour alone.

Belongs here: which word stands for what. Does not belong here: colours of a theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from oakctl.model.instance import InstanceState
from oakctl.model.views import ClusterView, InstanceView, ServiceView, StepEvent, WorkerView


class Tone(Enum):
    """What a status means for the reader."""

    GOOD = "good"
    BUSY = "busy"  # on its way
    WARNING = "warning"  # needs a look soon
    BAD = "bad"
    IDLE = "idle"  # neither good nor bad


@dataclass(frozen=True)
class Status:
    """A status ready to be shown."""

    glyph: str
    word: str
    tone: Tone

    def __str__(self) -> str:
        return f"{self.glyph} {self.word}"


_GLYPHS = {
    Tone.GOOD: "●",
    Tone.BUSY: "◐",
    Tone.WARNING: "▲",
    Tone.BAD: "✗",
    Tone.IDLE: "○",
}

_TONES = {
    "ready": Tone.GOOD,
    "done": Tone.GOOD,
    "creating": Tone.BUSY,
    "joining": Tone.BUSY,
    "starting": Tone.BUSY,
    "running": Tone.BUSY,
    "removing": Tone.BUSY,
    "deleting": Tone.BUSY,
    "pending": Tone.WARNING,
    "suspect": Tone.WARNING,
    "degraded": Tone.WARNING,
    "cordoned": Tone.WARNING,
    "dead": Tone.BAD,
    "failed": Tone.BAD,
    "unreachable": Tone.BAD,
    "stopped": Tone.IDLE,
    "skipped": Tone.IDLE,
    "planned": Tone.IDLE,
    "never-seen": Tone.IDLE,
}

_INSTANCE_TONES = {
    InstanceState.REGISTERED: Tone.BUSY,
    InstanceState.REQUESTED: Tone.BUSY,
    InstanceState.CLUSTER_SCHEDULED: Tone.BUSY,
    InstanceState.NODE_SCHEDULED: Tone.BUSY,
    InstanceState.CREATING: Tone.BUSY,
    InstanceState.STOPPING: Tone.BUSY,
    InstanceState.RUNNING: Tone.GOOD,
    InstanceState.COMPLETED: Tone.GOOD,
    InstanceState.FAILED: Tone.BAD,
    InstanceState.LOST: Tone.BAD,
    InstanceState.UNDEPLOYED: Tone.IDLE,
}


def of_word(word: str) -> Status:
    """The status of a word of the API; an unknown word is shown as it is."""
    tone = _TONES.get(word, Tone.IDLE)
    return Status(_GLYPHS[tone], word or "unknown", tone)


def of_cluster(cluster: ClusterView) -> Status:
    """A cluster's status."""
    return of_word(cluster.status)


def of_worker(worker: WorkerView) -> Status:
    """A worker's status; a cordon is told where there is nothing more urgent."""
    if worker.status == "ready" and worker.summary is not None and worker.summary.cordoned:
        return of_word("cordoned")
    return of_word(worker.status)


def of_service(service: ServiceView) -> Status:
    """A service's status."""
    return of_word(service.state)


def of_step(step: StepEvent) -> Status:
    """The status of one step of an operation."""
    return of_word(step.state)


def of_instance(instance: InstanceView) -> Status:
    """An instance's state; RUNNING without being ready, crash loops and pending have own words."""
    if instance.crash_looping:
        return Status(_GLYPHS[Tone.BAD], "crash-looping", Tone.BAD)
    if instance.state is InstanceState.RUNNING and not instance.ready:
        return Status(_GLYPHS[Tone.BUSY], "not ready", Tone.BUSY)
    if instance.state is InstanceState.REQUESTED and instance.reason:
        return Status(_GLYPHS[Tone.WARNING], "pending", Tone.WARNING)
    tone = _INSTANCE_TONES[instance.state]
    return Status(_GLYPHS[tone], instance.state.value.lower().replace("_", " "), tone)
