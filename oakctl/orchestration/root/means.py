"""What operations on hosts work with, and what they wait for.

Belongs here: the parts they share, and a cluster that answers, a worker that is ready. Does not
belong here: the operations (`root.bootstrap`, `root.upgrading`, `root.removal`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.model.messages import WorkerSummary
from oakctl.orchestration.root.bell import Bell, until
from oakctl.orchestration.root.clusters import Clusters
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.links import Link, summary
from oakctl.orchestration.root.operations import Operations
from oakctl.orchestration.root.store.database import Store
from oakctl.remote import bundle

READY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Means:
    """The parts of a root that operations on hosts use."""

    store: Store
    clusters: Clusters
    operations: Operations
    installer: Installer
    bell: Bell

    async def until_reachable(self, cluster: str, release: str = "") -> None:
        """Wait for a cluster to answer, from `release` where that is given."""

        def missing() -> str | None:
            link = self.clusters.links.get(cluster)
            if link is None:
                return "its link was closed"
            return _unreachable(link, release)

        what = f"cluster {cluster} to answer{_from(release)}"
        await until(self.bell, what, missing, READY_TIMEOUT_S)

    async def until_ready(self, link: Link, worker: str, release: str = "") -> None:
        """Wait for a worker to be ready, with its agent from `release` where that is given."""

        def missing() -> str | None:
            found = summary(link, worker)
            if found is None:
                return "the cluster has not heard of it" if link.reachable else link.reason
            return _not_ready(found, release)

        what = f"worker {link.name}/{worker} to be ready{_from(release)}"
        await until(self.bell, what, missing, READY_TIMEOUT_S)


def release_here() -> str:
    """The version of the node archive that hosts get from this program; blocks for a moment."""
    return bundle.version(bundle.build().read_bytes())


def _from(release: str) -> str:
    return f" from node archive {release}" if release else ""


def _unreachable(link: Link, release: str) -> str | None:
    if not link.reachable or link.state is None:
        return link.reason or "it has not answered yet"
    if release and link.state.release != release:
        return f"it runs from {link.state.release or 'another one'}"
    return None


def _not_ready(found: WorkerSummary, release: str) -> str | None:
    if found.status != "ready":
        return f"it is {found.status}"
    runs = found.facts.release if found.facts is not None else ""
    return f"it runs from {runs or 'another one'}" if release and runs != release else None
