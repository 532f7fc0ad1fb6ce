"""Secrets in a cluster: kept in a file of mode 0600 of its own, given to workers that need them.

Belongs here: keeping what the root has sent, and who may be given what. Does not belong here:
messages (`secret_desk`). They are in no bucket and no store of the bus: what those hold is on the
disk of nats-server, with whatever it keeps of messages. A file, and not memory alone, because the
orchestrator places instances anew while the root is away, and after a restart of its own too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oakctl.errors import NotFound
from oakctl.model import secrets, wire
from oakctl.model.messages import SecretsChange
from oakctl.model.secrets import SecretValue
from oakctl.model.service import ServiceSpec, split_instance_name
from oakctl.orchestration.cluster import accounts
from oakctl.orchestration.cluster.bus_server import write_private
from oakctl.orchestration.cluster.state import State

log = logging.getLogger("oakctl.cluster.secrets")

KEEP_UNNEEDED_S = 60.0  # a secret comes before the offer of the service that names it


@dataclass(frozen=True)
class SecretsFile:
    """What is in the file."""

    secrets: tuple[SecretValue, ...] = field(default=(), repr=False)


class Secrets:
    """The secrets that services in this cluster need."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unneeded_since: dict[str, float] = {}
        self._kept: Mapping[str, SecretValue] = {one.name: one for one in _read(path)}

    def versions(self) -> dict[str, int]:
        """Name → version of all; the root sends what is not among them."""
        return {name: one.version for name, one in self._kept.items()}

    def change(self, asked: SecretsChange) -> None:
        """Take in what the root says; durable when this returns. Raises OSError."""
        self._keep(changed(self._kept, asked))

    def of(self, spec: ServiceSpec) -> tuple[SecretValue, ...]:
        """Each secret that a service names, once; raises NotFound for one that is not here."""
        names = dict.fromkeys(use.name for use in spec.secrets)
        missing = [name for name in names if name not in self._kept]
        if missing:
            raise NotFound(f"secret {missing[0]} is not in this cluster")
        return tuple(self._kept[name] for name in names)

    def login(self, image: str) -> SecretValue | None:
        """Who one is to the registry of an image."""
        host = secrets.registry_of(image)
        return next((one for one in self._kept.values() if one.registry == host), None)

    def tidy(self, state: State, now: float) -> None:
        """Drop what no service here has needed for a while (`now`: monotonic seconds)."""
        stale = unneeded(self._kept, state)
        since = self._unneeded_since
        self._unneeded_since = {name: since.get(name, now) for name in stale}
        over = {n for n, at in self._unneeded_since.items() if now - at >= KEEP_UNNEEDED_S}
        if over:
            log.info("no service here needs %s any more", ", ".join(sorted(over)))
            try:
                self._keep({name: one for name, one in self._kept.items() if name not in over})
            except OSError as error:  # a full disk is no reason to stop serving
                log.warning("they are kept until the next look: %s", error.strerror)

    def _keep(self, after: Mapping[str, SecretValue]) -> None:
        if after == self._kept:
            return
        body = wire.encode(SecretsFile(tuple(after.values()))).decode()
        write_private(str(self._path), body)
        self._kept = after


def changed(before: Mapping[str, SecretValue], asked: SecretsChange) -> dict[str, SecretValue]:
    """What is kept after a change; a late message does not bring an older value back."""
    after = {name: one for name, one in before.items() if name not in asked.forget}
    for one in asked.put:
        if one.name not in after or after[one.name].version <= one.version:
            after[one.name] = one
    return after


def unneeded(kept: Mapping[str, SecretValue], state: State) -> set[str]:
    """Names of those that no service here asks for."""
    specs = [s.spec for s in state.services.values() if s.spec is not None and not s.gone_at]
    named = {use.name for spec in specs for use in spec.secrets}
    hosts = {secrets.registry_of(image) for spec in specs for image in spec.pulled}
    return {n for n, one in kept.items() if n not in named and one.registry not in hosts}


def asked_by(state: State, worker: str, instance: str) -> ServiceSpec:
    """The service of an instance whose secrets `worker` may have: it is placed there now.

    Raises NotFound for any other.
    """
    try:
        record = state.instances.get(split_instance_name(instance))
    except ValueError:
        record = None
    spec = state.spec(record.job_name) if record is not None else None
    if record is None or spec is None or record.worker != worker or record.stopping:
        raise NotFound(f"no such instance is on {worker}")
    return spec


def pulls(state: State, worker: str, image: str) -> bool:
    """Whether an instance that is placed on `worker` is of this image; logins are for the
    services of the cluster's owner, and no granted root's."""
    placed = (r for r in state.on(worker) if not r.stopping and not accounts.owner_of(r.job_name))
    specs = (state.spec(record.job_name) for record in placed)
    return any(spec is not None and image in spec.pulled for spec in specs)


def _read(path: Path) -> tuple[SecretValue, ...]:
    try:
        return wire.decode(path.read_bytes(), SecretsFile).secrets
    except FileNotFoundError:
        return ()
    except wire.Malformed:
        # The root sends again what is not here; until then instances wait for it.
        log.error("%s cannot be read: begun anew without secrets", path)
        return ()
