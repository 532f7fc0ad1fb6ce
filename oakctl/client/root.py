"""The typed client of `/v1`: one method per thing that can be asked of the root.

Belongs here: requests, answers as the model's views, and errors rebuilt as `OakError`. Does
not belong here: starting a root (`client.process`), packing artifacts (`client.artifact`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from oakctl import paths
from oakctl.client.access import HostAccess
from oakctl.client.connection import Connection, part
from oakctl.client.grants import GrantsClient
from oakctl.client.images import ImagesClient
from oakctl.client.overlay import OverlayClient
from oakctl.client.secrets import SecretsClient
from oakctl.client.sessions import SessionsClient
from oakctl.client.tokens import TokensClient
from oakctl.errors import DeadlineExceeded, error_for
from oakctl.model import wire
from oakctl.model.events import Event
from oakctl.model.requests import (
    ApplyRequest,
    ClusterChange,
    ClusterCreate,
    HostCheckRequest,
    InstanceMove,
    LookRequest,
    PlaybookRun,
    ServiceChange,
    SudoPassword,
    WorkerAdd,
    WorkerCordon,
)
from oakctl.model.views import (
    ApplicationView,
    ApplyResult,
    ClusterView,
    Explanation,
    FleetLook,
    HostCheck,
    HostView,
    InstanceView,
    OperationView,
    Preview,
    RootStatus,
    ServiceView,
    StepEvent,
    WorkerView,
)

T = TypeVar("T")
CHECK_TIMEOUT_S = 180.0  # a slow host takes a minute to answer, and not all are asked at once

# Removing waits for instances to end and for steps over SSH; a bootstrap pushes archives.
OPERATION_TIMEOUT_S = 600.0


class RootClient:
    """`async with RootClient() as root:`; every method raises the OakError the root answered.

    Unreachable when no root answers. Service and instance names may be short when unique.
    """

    def __init__(self, socket: Path | None = None) -> None:
        self._connection = Connection(socket or paths.root_socket())
        self.access = HostAccess(self._connection)
        self.images = ImagesClient(self._connection)
        self.secrets = SecretsClient(self._connection)
        self.grants = GrantsClient(self._connection)
        self.tokens = TokensClient(self._connection)
        self.overlay = OverlayClient(self._connection)
        self.sessions = SessionsClient(self._connection.socket)

    async def __aenter__(self) -> RootClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def _one(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        return wire.decode(await self._connection.call(method, path, body), kind)

    async def _many(self, path: str, kind: type[T], **query: str | None) -> tuple[T, ...]:
        given = {name: value for name, value in query.items() if value is not None}
        body = await self._connection.call("GET", path, query=given)
        return tuple(wire.from_plain(item, kind) for item in json.loads(body))

    # --- the root itself ---

    async def status(self) -> RootStatus:
        """The root process."""
        return await self._one("GET", "/v1/status", RootStatus)

    async def shutdown(self) -> None:
        """Ask the root to stop; running operations are interrupted and can be run again."""
        await self._connection.call("POST", "/v1/shutdown")

    # --- hosts ---

    async def hosts(self) -> tuple[HostView, ...]:
        """Every host that is known by name."""
        return await self._many("/v1/hosts", HostView)

    async def put_host(self, host: HostView) -> HostView:
        """Register a host, or change how it is reached; Conflict while it is in use."""
        return await self._one("PUT", f"/v1/hosts/{part(host.name)}", HostView, host)

    async def forget_host(self, name: str) -> None:
        """Forget a host; Conflict while it has a role."""
        await self._connection.call("DELETE", f"/v1/hosts/{part(name)}")

    async def give_password(self, host: str, password: str) -> None:
        """Let the root use sudo on a host; kept in its memory alone, for a while."""
        await self._connection.call("PUT", f"/v1/hosts/{part(host)}/sudo", SudoPassword(password))

    async def check_hosts(self, request: HostCheckRequest) -> HostCheck:
        """Look at hosts, and change nothing; NotFound for one that is not known."""
        body = await self._connection.call(
            "POST", "/v1/host-checks", request, timeout_s=CHECK_TIMEOUT_S
        )
        return wire.decode(body, HostCheck)

    async def look(self, request: LookRequest) -> FleetLook:
        """What hosts are, and what would be done there, over SSH; nothing is changed."""
        body = await self._connection.call("POST", "/v1/looks", request, timeout_s=CHECK_TIMEOUT_S)
        return wire.decode(body, FleetLook)

    async def run_playbook(self, request: PlaybookRun) -> OperationView:
        """Begin to run a playbook, ours or the user's own, on a host."""
        return await self._one("POST", "/v1/playbooks/runs", OperationView, request)

    # --- clusters and workers ---

    async def clusters(self) -> tuple[ClusterView, ...]:
        """Every cluster."""
        return await self._many("/v1/clusters", ClusterView)

    async def cluster(self, name: str) -> ClusterView:
        """One cluster."""
        return await self._one("GET", f"/v1/clusters/{part(name)}", ClusterView)

    async def create_cluster(self, request: ClusterCreate) -> OperationView:
        """Begin to make a host a cluster's orchestrator; carries on what was interrupted."""
        return await self._one("POST", "/v1/clusters", OperationView, request)

    async def put_cluster(self, request: ClusterCreate) -> OperationView:
        """As `create_cluster`; a cluster on that host is changed to what is asked for."""
        path = f"/v1/clusters/{part(request.name)}"
        return await self._one("PUT", path, OperationView, request)

    async def change_cluster(self, name: str, change: ClusterChange) -> ClusterView:
        """Set a cluster's policy."""
        return await self._one("PATCH", f"/v1/clusters/{part(name)}", ClusterView, change)

    async def remove_cluster(
        self, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        """Begin to take a cluster apart; Conflict while it has workers.

        `force`: forget it and its workers, for hosts that are gone for good. With `clean` only
        one without workers, and its host is cleaned if that answers.
        """
        return await self._removal(f"/v1/clusters/{part(name)}", force, clean)

    async def upgrade_cluster(self, name: str) -> OperationView:
        """Begin to bring the root's release to an orchestrator, or back when that fails."""
        return await self._one("POST", f"/v1/clusters/{part(name)}/upgrade", OperationView)

    async def upgrade_worker(self, cluster: str, name: str) -> OperationView:
        """Begin to bring the root's release to a worker, or back when that fails."""
        path = f"{self._worker_path(cluster, name)}/upgrade"
        return await self._one("POST", path, OperationView)

    async def workers(self, cluster: str | None = None) -> tuple[WorkerView, ...]:
        """The workers, of one cluster or of all."""
        return await self._many("/v1/workers", WorkerView, cluster=cluster)

    async def worker(self, cluster: str, name: str) -> WorkerView:
        """One worker."""
        return await self._one("GET", self._worker_path(cluster, name), WorkerView)

    async def add_worker(self, request: WorkerAdd) -> OperationView:
        """Begin to make a host a worker; carries on what was interrupted."""
        return await self._one("POST", "/v1/workers", OperationView, request)

    async def put_worker(self, request: WorkerAdd) -> OperationView:
        """As `add_worker`; a worker on that host is changed to what is asked for."""
        path = self._worker_path(request.cluster, request.name)
        return await self._one("PUT", path, OperationView, request)

    async def cordon(self, cluster: str, name: str, cordoned: bool) -> WorkerView:
        """Whether a worker takes new instances."""
        path = self._worker_path(cluster, name)
        return await self._one("PATCH", path, WorkerView, WorkerCordon(cordoned))

    async def drain(self, cluster: str, name: str) -> WorkerView:
        """Begin to move a worker's instances elsewhere; it stays, cordoned."""
        return await self._one("POST", f"{self._worker_path(cluster, name)}/drain", WorkerView)

    async def remove_worker(
        self, cluster: str, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        """Begin to drain a worker and take everything of ours from its host.

        `force`: forget it, for a host that is gone for good. With `clean` its host is cleaned if
        that answers.
        """
        return await self._removal(self._worker_path(cluster, name), force, clean)

    async def _removal(self, path: str, force: bool, clean: bool) -> OperationView:
        query = {"force": str(force).lower(), "clean": str(clean).lower()}
        body = await self._connection.call("DELETE", path, query=query)
        return wire.decode(body, OperationView)

    @staticmethod
    def _worker_path(cluster: str, name: str) -> str:
        return f"/v1/clusters/{part(cluster)}/workers/{part(name)}"

    # --- operations ---

    async def operations(self) -> tuple[OperationView, ...]:
        """Work on hosts, newest first, without its steps."""
        return await self._many("/v1/operations", OperationView)

    async def operation(self, id: int) -> OperationView:
        """One operation with its steps."""
        return await self._one("GET", f"/v1/operations/{id}", OperationView)

    async def follow_operation(self, id: int) -> AsyncGenerator[StepEvent, None]:
        """The steps of an operation as they happen, from its first, until it ends."""
        seen = 0
        while True:
            ended = False
            path, query = f"/v1/operations/{id}/steps", {"after": str(seen)}
            async with aclosing(self._connection.lines(path, query)) as lines:
                async for line in lines:
                    if "state" in line and "step" in line:
                        seen += 1
                        yield wire.from_plain(line, StepEvent)
                    ended = ended or bool(line.get("ended"))
            if ended:
                return

    async def see_through(self, id: int, told: Callable[[StepEvent], None]) -> OperationView:
        """The operation when it is done, each step `told` as it happens; the caller has a deadline.

        Raises what it failed with.
        """
        async with aclosing(self.follow_operation(id)) as steps:
            async for step in steps:
                told(step)
        view = await self.operation(id)
        if view.state == "failed":
            raise error_for(view.exit_code, view.error, view.hint, view.details)
        return view

    async def wait_operation(
        self,
        id: int,
        timeout_s: float = OPERATION_TIMEOUT_S,
        told: Callable[[StepEvent], None] = lambda step: None,
    ) -> OperationView:
        """As `see_through`, for at most `timeout_s` seconds.

        Raises DeadlineExceeded then; the operation itself goes on.
        """
        last = ""

        def tell(step: StepEvent) -> None:
            nonlocal last
            last = f"{step.host}: {step.step}"
            told(step)

        try:
            async with asyncio.timeout(timeout_s):
                return await self.see_through(id, tell)
        except TimeoutError:
            raise DeadlineExceeded(
                f"operation {id} has not ended after {timeout_s:.0f} s; its last step was "
                f"{last or 'none'}",
                hint="it goes on: oakctl event ls -f",
            ) from None

    # --- applications, services, instances ---

    async def upload_artifact(self, path: Path) -> str:
        """Give the root an artifact; returns its sha256. Nothing is sent twice."""
        digest = await asyncio.to_thread(_sha256_of, path)
        target = f"/v1/artifacts/{digest}"
        known = json.loads(await self._connection.call("GET", target))
        if not known["present"]:
            await self._connection.send_file("PUT", target, path)
        return digest

    async def apply(self, request: ApplyRequest) -> ApplyResult:
        """Apply a descriptor, whole or not at all; durable when this returns."""
        return await self._one("POST", "/v1/applications", ApplyResult, request)

    async def preview(self, request: ApplyRequest) -> Preview:
        """Where its services would go now; nothing is changed or uploaded."""
        return await self._one("POST", "/v1/preview", Preview, request)

    async def applications(self) -> tuple[ApplicationView, ...]:
        """Every application, those being deleted too."""
        return await self._many("/v1/applications", ApplicationView)

    async def application(self, name: str) -> ApplicationView:
        """One application."""
        return await self._one("GET", f"/v1/applications/{part(name)}", ApplicationView)

    async def delete_application(self, name: str) -> ApplicationView:
        """Begin to delete; the application is gone when `application` raises NotFound."""
        return await self._one("DELETE", f"/v1/applications/{part(name)}", ApplicationView)

    async def services(self, application: str | None = None) -> tuple[ServiceView, ...]:
        """The services, of one application or of all."""
        return await self._many("/v1/services", ServiceView, application=application)

    async def service(self, name: str) -> ServiceView:
        """One service."""
        return await self._one("GET", f"/v1/services/{part(name)}", ServiceView)

    async def scale(self, name: str, replicas: int) -> ServiceView:
        """Set how many instances are wanted."""
        body = ServiceChange(replicas)
        return await self._one("PATCH", f"/v1/services/{part(name)}", ServiceView, body)

    async def restart(self, name: str, *, at_once: bool = False) -> ServiceView:
        """Replace every instance, one after the other; or let all end, and be started anew."""
        query = "?at_once=true" if at_once else ""
        return await self._one("POST", f"/v1/services/{part(name)}/restart{query}", ServiceView)

    async def migrate(self, name: str, to: str) -> ServiceView:
        """Replace an instance by one on the worker `to`."""
        body = InstanceMove(to)
        return await self._one("POST", f"/v1/instances/{part(name)}/migrate", ServiceView, body)

    async def explain(self, name: str) -> Explanation:
        """Why the instances of a service are where they are."""
        return await self._one("GET", f"/v1/services/{part(name)}/explain", Explanation)

    async def instances(self, service: str | None = None) -> tuple[InstanceView, ...]:
        """The instances, of one service or of all."""
        return await self._many("/v1/instances", InstanceView, service=service)

    async def instance(self, name: str) -> InstanceView:
        """One instance."""
        return await self._one("GET", f"/v1/instances/{part(name)}", InstanceView)

    async def logs(
        self, name: str, tail_bytes: int = 65536, follow: bool = False
    ) -> AsyncGenerator[str, None]:
        """The last `tail_bytes` of an instance's log, and what follows when asked for."""
        offset = -tail_bytes
        while True:
            ended = False
            query = {"offset": str(offset), "follow": str(follow).lower()}
            path = f"/v1/instances/{part(name)}/logs"
            async with aclosing(self._connection.lines(path, query)) as lines:
                async for line in lines:
                    offset = int(line.get("next_offset", offset))
                    ended = ended or bool(line.get("ended"))
                    if line.get("data"):
                        yield str(line["data"])
            if ended or not follow:
                return

    # --- timeline ---

    async def history(self, subject: str) -> tuple[Event, ...]:
        """The last events about one thing, by its full name, oldest first."""
        return await self._many("/v1/history", Event, subject=subject)

    async def events(
        self, after: int = 0, follow: bool = False, limit: int = 1000
    ) -> AsyncGenerator[Event, None]:
        """Events with an id above `after`, oldest first; `follow` goes on for ever.

        `limit` bounds what is given without `follow`; `after` < 0: only the last `-after`.
        """
        given = 0
        while True:
            query = {"after": str(after), "follow": str(follow).lower()}
            if not follow:
                query["limit"] = str(limit - given)
            async with aclosing(self._connection.lines("/v1/events", query)) as lines:
                async for line in lines:
                    if "id" not in line:
                        after = int(line.get("after", after))
                        continue
                    event = wire.from_plain(line, Event)
                    after, given = event.id, given + 1
                    yield event
            if not follow:
                return


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
