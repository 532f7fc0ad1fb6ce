"""The timeline: what happened, when, to what, and why.

Belongs here: the event as it is stored and shown. Does not belong here: who writes it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One entry of the append-only timeline."""

    id: int  # grows with each event of this root
    at: float  # seconds since the epoch, by the clock of whoever saw it
    kind: str  # "instance.running", "worker.dead", "application.applied", ...
    subject: str  # the thing it is about
    message: str
    reason: str = ""
    cluster: str = ""
