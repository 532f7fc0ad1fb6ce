"""Secrets on their way to clusters: each has what services there need, and nothing else.

Belongs here: the difference between what a cluster has (it tells by name and version) and what it
is to have, and sending that. Does not belong here: keeping secrets (`root.secrets`), and what the
cluster does with them (`cluster.secrets`): it drops by itself what no service there names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oakctl.errors import NotFound, OakError
from oakctl.model import subjects
from oakctl.model.messages import SecretsChange
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.secrets import Secrets

log = logging.getLogger("oakctl.root.secrets")


@dataclass(frozen=True)
class Due:
    """Names of secrets that a cluster is to be sent, or to forget."""

    put: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether the cluster has what it should have."""
        return not self.put and not self.forget


def due(needed: Iterable[str], known: Mapping[str, int], there: Mapping[str, int]) -> Due:
    """What differs. `known` are the versions here, `there` those in the cluster."""
    names = sorted(set(needed))
    put = tuple(n for n in names if n in known and there.get(n, -1) < known[n])
    # Removed here with --force: no instance there is to be given it any more.
    forget = tuple(n for n in names if n not in known and n in there)
    return Due(put, forget)


class SecretDelivery:
    """One for a root."""

    def __init__(self, secrets: Secrets, links: Mapping[str, Link]) -> None:
        self._secrets = secrets
        self._links = links

    async def require(self, link: Link, spec: ServiceSpec) -> None:
        """Have all in the cluster that instances of the service need.

        Raises NotFound when a secret is no more, and what `Link.order` raises.
        """
        needed = self._secrets.needed_by(spec)
        gone = sorted(needed - self._secrets.known().keys())
        if gone:
            raise NotFound(f"there is no secret {gone[0]}", hint=f"oakctl secret set {gone[0]}")
        await self._bring(link, needed)

    async def once(
        self, placed: Iterable[tuple[str, str]], specs: Mapping[str, ServiceSpec]
    ) -> None:
        """Tell each reachable cluster what it does not know yet. `placed` are (cluster, job)."""
        needed: dict[str, set[str]] = {}
        for cluster, job_name in set(placed):
            if job_name in specs:
                needed.setdefault(cluster, set()).update(self._secrets.needed_by(specs[job_name]))
        reachable = {c: self._links[c] for c in needed if c in self._links}
        await asyncio.gather(
            *(
                self._try(link, needed[cluster])
                for cluster, link in reachable.items()
                if link.reachable and needed[cluster]
            )
        )

    async def _try(self, link: Link, needed: Iterable[str]) -> None:
        try:
            await self._bring(link, needed)
        except OakError as error:
            log.warning("secrets for %s: %s", link.name, error.message)

    async def _bring(self, link: Link, needed: Iterable[str]) -> None:
        state = link.state
        if state is None:
            return
        known = {name: one.version for name, one in self._secrets.known().items()}
        wanted = due(needed, known, state.secrets)
        if wanted.nothing:
            return
        # One at a time: some together could be more than a message may carry.
        for name in wanted.put:
            value = self._secrets.value(name)
            if value is not None:
                await link.order(subjects.CTL_SECRETS, SecretsChange((value,)))
        if wanted.forget:
            await link.order(subjects.CTL_SECRETS, SecretsChange(forget=wanted.forget))
        await link.refresh()
