"""What clusters of one operator tell each other: tables, nodes, and which of them they want.

Belongs here: the documents and messages of a link between two orchestrators, and how the root
introduces them. Does not belong here: what follows from them (`cluster.peer_tables`), who dials
(`cluster.peers`).

Each side has a `PeerDocument` for the other. What travels is the change from the document that the
other holds to the one in force, or all of it where nobody knows what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.documents import ServiceTable
from oakctl.model.overlay import OverlayNode


def peer_user(cluster: str) -> str:
    """The bus user by which the orchestrator of another cluster dials."""
    return f"peer-{cluster}"


# --- between orchestrators -------------------------------------------------------------------


@dataclass(frozen=True)
class PeerDocument:
    """All that one cluster tells another. `revision` only ever grows, for one pair."""

    cluster: str  # who tells
    revision: int
    wants: tuple[str, ...] = ()  # services whose tables it needs, or addresses of some
    tables: tuple[ServiceTable, ...] = ()  # its own, of services that the other wants
    nodes: tuple[OverlayNode, ...] = ()


@dataclass(frozen=True)
class PeerNews:
    """From the document with revision `base` to the one with `revision`; base 0: all of it.

    What is None is as it was. Tables replace those of the same service; `gone` are services whose
    tables are no more, or are not wanted any more.
    """

    base: int
    revision: int
    wants: tuple[str, ...] | None = None
    nodes: tuple[OverlayNode, ...] | None = None
    tables: tuple[ServiceTable, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class PeerWord:
    """One cluster to another: which revision of the other's document is durable here, and news."""

    cluster: str  # who speaks
    have: int
    news: PeerNews | None = None


# --- root → cluster orchestrator -------------------------------------------------------------


@dataclass(frozen=True)
class PeerIntroduction:
    """Link yourself with that cluster. `id` is the same for both sides, and new each time."""

    id: str
    cluster: str
    address: str  # of its bus: "10.0.0.5:4222"
    ca_pem: str
    block: str  # its node subnets: "10.18.16.0/20"
    secret: str = field(repr=False)  # ours, on its bus
    bcrypt_hash: str = field(repr=False)  # of its secret, on ours


@dataclass(frozen=True)
class PeerRemoval:
    """That cluster is no more, or no peer any more."""

    cluster: str


# --- cluster orchestrator → root -------------------------------------------------------------


@dataclass(frozen=True)
class PeerSummary:
    """How a cluster is with one other. Not `linked`: the root carries what they tell each other."""

    cluster: str
    introduction: str = ""  # its id
    address: str = ""  # where its bus is dialled
    linked: bool = False
    dialled_by: str = ""  # the cluster that dials
    since: float = 0.0  # seconds since the epoch
    reason: str = ""  # what is in the way of dialling, as seen from here
    revision: int = 0  # of what is to be told
    have: int = 0  # of what was told
