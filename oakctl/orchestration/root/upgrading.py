"""A newer node archive for what is there already, and back to the one before when it fails.

Belongs here: one orchestrator or one worker at a time. Does not belong here: in which order
(`fleet.applier`), the steps (`playbooks/`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sqlite_utils import Database

from oakctl.errors import Conflict, ExitCode, OakError, Unreachable
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.bootstrap import Bootstrap
from oakctl.orchestration.root.means import Means, release_here
from oakctl.orchestration.root.operations import Progress
from oakctl.orchestration.root.store import fleet

KIND = "fleet upgrade"


class Upgrading:
    """The commands that bring the release of this program to machines that have another."""

    def __init__(self, means: Means, bootstrap: Bootstrap) -> None:
        self._means = means
        self._bootstrap = bootstrap

    async def upgrade_cluster(self, name: str) -> OperationView:
        """Bring a newer release to an orchestrator; its workers and instances go on meanwhile."""

        async def work(progress: Progress) -> None:
            row, host = await self._means.store.run(lambda db: fleet.cluster_and_host(db, name))
            release = await asyncio.to_thread(release_here)

            async def install() -> None:
                await self._bootstrap.install_cluster(row, host, False, progress, release)

            async def answers() -> None:
                await self._means.until_reachable(name)

            await self._or_back(host, "cluster", release, progress, install, answers)

        def prepare(db: Database) -> None:
            row, _ = fleet.cluster_and_host(db, name)
            credentials.own(name, "its release")
            _check_ready(f"cluster {name}", row.state)

        return await self._means.operations.start(KIND, f"cluster {name}", prepare, work, name)

    async def upgrade_worker(self, cluster: str, name: str) -> OperationView:
        """Bring a newer release to a worker; its instances go on meanwhile."""

        async def work(progress: Progress) -> None:
            row, host = await self._means.store.run(
                lambda db: fleet.worker_and_host(db, cluster, name)
            )
            release = await asyncio.to_thread(release_here)

            async def install() -> None:
                await self._bootstrap.install_worker(
                    row.request, host, progress, known=True, release=release
                )

            async def ready() -> None:
                await self._means.until_ready(self._means.clusters.link(cluster), name)

            await self._or_back(host, "worker", release, progress, install, ready)

        def prepare(db: Database) -> None:
            row, _ = fleet.worker_and_host(db, cluster, name)
            if not row.request.host:
                raise Conflict(
                    f"worker {cluster}/{name} joined by a token: its machine is its owner's",
                    hint="he takes it away and joins anew: oakctl worker token",
                )
            _check_ready(f"worker {cluster}/{name}", row.state)

        subject = f"worker {cluster}/{name}"
        return await self._means.operations.start(KIND, subject, prepare, work, (cluster, name))

    async def _or_back(
        self,
        host: HostView,
        role: str,
        release: str,
        progress: Progress,
        install: Callable[[], Awaitable[None]],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        """`install`, and when that fails the release before, until `ready`; raises why.

        A host that is not reached, or a stop by the operator, changes nothing back: the same
        command carries on.
        """
        try:
            await install()
        except Unreachable:
            raise
        except OakError as error:
            if error.exit_code == ExitCode.INTERRUPTED:
                raise
            failure = error
        else:
            return
        back, said = await self._back(host, role, release, progress, ready)
        raise OakError(
            f"release {release} failed on {host.name}: {failure.message}; {back}",
            hint=f"oakctl host ssh {host.name}",
            details=failure.details or said,
        ) from failure

    async def _back(
        self,
        host: HostView,
        role: str,
        release: str,
        progress: Progress,
        ready: Callable[[], Awaitable[None]],
    ) -> tuple[str, tuple[str, ...]]:
        """Take the host back to the release before; how that went, and what the new one wrote."""
        try:
            said = await progress.in_thread(
                lambda: self._means.installer.roll_back(
                    host, role, release, progress.report, progress.cancelled
                )
            )
            await ready()
        except OakError as error:
            return f"the release before does not run either: {error.message}", error.details
        progress.note(host.name, "rollback", "the release before runs again")
        return "the release before runs again", said


def _check_ready(what: str, state: str) -> None:
    if state != "ready":
        raise Conflict(f"{what} is {state}", hint="oakctl fleet apply carries on with it")
