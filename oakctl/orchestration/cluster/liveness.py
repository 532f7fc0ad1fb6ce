"""Which workers are there, from what is heard of them. Pure, and forgotten with the process.

Belongs here: heartbeats, silence, and the bus's word that a connection ended. Does not belong
here: what becomes of the instances of a dead worker (`sweep`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from oakctl.model.config import Timers
from oakctl.model.documents import Heartbeat
from oakctl.model.node import Usage
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.state import State

READY = "ready"
SUSPECT = "suspect"
DEAD = "dead"
NEVER_SEEN = "never-seen"


@dataclass(frozen=True)
class Presence:
    """What was last heard of one worker.

    `heard` and `current_since` are `Now.mono`; `current_since` is since when the agent has said
    that it has the desired document in force (None: it has not).
    """

    heard: float
    status: str
    connected: bool = True
    agent_id: str = ""
    seq: int = -1
    heard_wall: float = 0.0  # 0: not since this process started
    usage: Usage = Usage()
    desired_revision: int = -1
    tables_revision: int = -1
    current_since: float | None = None


Presences = Mapping[str, Presence]
NOBODY = Presence(0.0, NEVER_SEEN)


def at_start(state: State, now: Now) -> dict[str, Presence]:
    """Workers as a freshly started orchestrator takes them: there, until they are silent.

    None is suspected before a whole `suspect_s` of silence has passed from here, or dead before
    `dead_s`: that we were away says nothing of them.
    """
    return {name: Presence(now.mono, READY) for name, w in state.workers.items() if w.facts}


def status_of(state: State, presences: Presences, worker: str) -> str:
    """ready, suspect, dead or never-seen."""
    record, presence = state.workers.get(worker), presences.get(worker)
    if record is None or record.facts is None or presence is None:
        return NEVER_SEEN
    return presence.status


def hear(before: Presence | None, beat: Heartbeat, desired: int, now: Now) -> Presence | None:
    """After a heartbeat; None when it is late (an older one of the same agent).

    `desired` is the revision of the worker's desired document in force.
    """
    if before is not None and before.agent_id == beat.agent_id and beat.seq <= before.seq:
        return None
    current_since = before.current_since if before is not None else None
    if beat.desired_revision < desired:
        current_since = None
    elif current_since is None:
        current_since = now.mono
    return Presence(
        heard=now.mono,
        status=READY,
        agent_id=beat.agent_id,
        seq=beat.seq,
        heard_wall=now.wall,
        usage=beat.usage,
        desired_revision=beat.desired_revision,
        tables_revision=beat.tables_revision,
        current_since=current_since,
    )


def greeted(before: Presence | None, agent_id: str, now: Now) -> Presence:
    """After a greeting, which is as good as a heartbeat."""
    known = before or Presence(now.mono, READY)
    fresh = known.agent_id != agent_id
    return replace(
        known,
        heard=now.mono,
        heard_wall=now.wall,
        status=READY,
        connected=True,
        agent_id=agent_id,
        seq=-1 if fresh else known.seq,
        current_since=None if fresh else known.current_since,
    )


def disconnected(presence: Presence) -> Presence:
    """The bus says that the worker's connection ended: suspect until it is heard again."""
    status = SUSPECT if presence.status == READY else presence.status
    return replace(presence, connected=False, status=status)


def judge(presences: Presences, timers: Timers, now: Now) -> dict[str, Presence]:
    """Everybody's status after the silence that has passed by now."""
    judged = {}
    for name, presence in presences.items():
        status = _judged(presence, timers, now)
        judged[name] = presence if status == presence.status else replace(presence, status=status)
    return judged


def excuse(
    presences: Presences, now: Now, names: Iterable[str] | None = None
) -> dict[str, Presence]:
    """Silence so far does not count: nobody could be heard (no bus, or we did not run).

    Those who were given up stay so until they are heard.
    """
    chosen = set(presences if names is None else names)
    return {
        name: replace(presence, heard=now.mono)
        if name in chosen and presence.status != DEAD
        else presence
        for name, presence in presences.items()
    }


def _judged(presence: Presence, timers: Timers, now: Now) -> str:
    silent = now.mono - presence.heard
    if presence.status == DEAD or silent >= timers.dead_s:
        return DEAD  # until it is heard again
    if silent >= timers.suspect_s:
        return SUSPECT
    return presence.status
