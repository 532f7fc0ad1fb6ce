"""Which clusters this one was introduced to: files of mode 0600, three for each.

Belongs here: keeping, reading and removing them. `<cluster>.json` is written last and removed
first: with it a peer is there, without it not. As for tokens these are files and no bucket, for
there is a secret among them. Does not belong here: what a peer tells (`state`, in the buckets).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.model.config import BusAccess
from oakctl.model.peers import PeerIntroduction, peer_user
from oakctl.orchestration.cluster.bus_server import write_private

log = logging.getLogger("oakctl.cluster.peers")


@dataclass(frozen=True)
class KnownPeer:
    """An introduction without its secrets."""

    id: str
    cluster: str
    address: str
    block: str


class PeerFolder:
    """`state/peers` of the orchestrator of `own`."""

    def __init__(self, path: Path, own: str) -> None:
        self._path = path
        self._own = own

    def all(self) -> tuple[KnownPeer, ...]:
        """Every peer; one that can't be read is none, and the root introduces it anew."""
        found = []
        for file in sorted(self._path.glob("*.json")):
            try:
                found.append(wire.decode(file.read_bytes(), KnownPeer))
            except (OSError, wire.Malformed) as error:
                log.warning("%s is no introduction: %s", file, error)
        return tuple(found)

    def put(self, given: PeerIntroduction) -> KnownPeer:
        """Keep an introduction, in place of an earlier one; raises OakError."""
        known = KnownPeer(given.id, given.cluster, given.address, given.block)
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file(given.cluster, "json").unlink(missing_ok=True)
            write_private(str(self._file(given.cluster, "secret")), given.secret)
            write_private(str(self._file(given.cluster, "pem")), given.ca_pem)
            write_private(str(self._file(given.cluster, "json")), wire.encode(known).decode())
        except OSError as error:
            raise OakError(f"a peer can't be stored here: {error.strerror}") from error
        return known

    def drop(self, cluster: str) -> None:
        """Remove all of a peer; raises OakError."""
        try:
            for kind in ("json", "secret", "pem"):
                self._file(cluster, kind).unlink(missing_ok=True)
        except OSError as error:
            raise OakError(f"a peer can't be removed here: {error.strerror}") from error

    def access(self, known: KnownPeer) -> BusAccess:
        """How its bus is dialled."""
        return BusAccess(
            url=f"tls://{known.address}",
            tls_hostname=known.cluster,
            ca_file=str(self._file(known.cluster, "pem")),
            user=peer_user(self._own),
            secret_file=str(self._file(known.cluster, "secret")),
        )

    def _file(self, cluster: str, kind: str) -> Path:
        return self._path / f"{cluster}.{kind}"
