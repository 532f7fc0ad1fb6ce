"""Tokens by which a machine becomes a worker without SSH: what is said about one, and to whom.

Belongs here: the messages between root, cluster and the machine that joins, and the file that its
owner is handed. Does not belong here: whether a token is taken (`cluster.tokens`), and what is done
on the machine (`remote.joining`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.resources import Location, Resources

GOOD_FOR_S = 600.0  # by the cluster's clock, from when it hears of the token
OPEN, USED, LATE, REVOKED = "open", "used", "late", "revoked"


@dataclass(frozen=True)
class TokenRequest:
    """Have a token made for a worker `name` of `cluster` (empty: the first free of w1, w2, …).

    `address` ("host:port") is how the machine reaches the bus; empty: as other workers do.
    """

    cluster: str
    name: str = ""
    contribution: Resources = Resources()
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True)
class TokenOrder:
    """Root → cluster: take this token from now on, for the cluster's `GOOD_FOR_S`.

    `bcrypt_hash` is of the token's own bus account. The worker's secret is handed over with the
    token's use: a copy of the token alone is of no use afterwards.
    """

    id: str
    worker: str
    bcrypt_hash: str = field(repr=False)
    worker_hash: str = field(repr=False)
    worker_secret: str = field(repr=False)


@dataclass(frozen=True)
class TokenSummary:
    """One token, for the cluster's owner."""

    id: str
    worker: str
    state: str  # open, used, late, revoked
    until: float  # seconds since the epoch, by the cluster's clock
    used_at: float = 0.0
    machine: str = ""  # what the machine that used it calls itself: not to be trusted


@dataclass(frozen=True)
class JoinRequest:
    """Machine → cluster: "make me that worker".

    `claim` is a random word of the machine's own. The one that came first is answered again, so
    that an answer that was lost is no loss; any other is refused.
    """

    claim: str = field(repr=False)
    machine: str = ""


@dataclass(frozen=True)
class JoinAnswer:
    """The worker's credential, or why not. `is_ready`: its agent is heard."""

    accepted: bool
    reason: str = ""
    secret: str = field(default="", repr=False)  # empty: it was handed over before
    is_ready: bool = False


@dataclass(frozen=True)
class JoinFile:
    """What a join program carries: all that a machine needs. Written into files of 0600 only."""

    id: str
    cluster: str
    worker: str
    secret: str = field(repr=False)  # of the token's bus account
    bus_address: str
    bus_port: int
    ca_pem: str
    contribution: Resources = Resources()
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    kind: str = "oakctl join file"
    version: int = 1


def token_user(id: str) -> str:
    """The bus user of a token."""
    return f"join-{id}"
