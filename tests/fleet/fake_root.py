"""A root in memory, by the rules of the real one: what is refused, what an operation leaves.

Belongs here: hosts, clusters and workers as rows, and failures on demand. `interrupt` ends an
operation after its first half, as a killed root does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from oakctl.errors import Conflict, NotFound, OakError
from oakctl.model.requests import ClusterCreate, LookRequest, PlanRequest, WorkerAdd
from oakctl.model.views import (
    ClusterView,
    FleetLook,
    HostCheck,
    HostFinding,
    HostPlan,
    HostView,
    OperationView,
    StepEvent,
    WorkerView,
)


@dataclass
class FakeRoot:
    """Rows by name; `interrupt` is asked before each operation ends."""

    known: dict[str, HostView] = field(default_factory=dict)
    made: dict[str, tuple[ClusterCreate, str]] = field(default_factory=dict)
    joined: dict[str, tuple[WorkerAdd, str]] = field(default_factory=dict)
    interrupt: Callable[[], bool] = lambda: False
    unreachable: set[str] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)  # "edge", "edge/w1"
    broken: set[str] = field(default_factory=set)  # those whose upgrade fails
    findings: list[HostFinding] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    ended: list[OperationView] = field(default_factory=list)

    def _role(self, host: str) -> str:
        for request, _ in self.made.values():
            if request.host == host:
                return f"orchestrator of {request.name}"
        for name, (worker, _) in self.joined.items():
            if worker.host == host:
                return f"worker {name}"
        return ""

    def _end(self, call: str, finish: Callable[[], object], what: str = "") -> OperationView:
        self.calls.append(call)
        error = "interrupted" if self.interrupt() or what in self.broken else ""
        if not error:
            finish()
        state = "failed" if error else "done"
        view = OperationView(
            len(self.ended) + 1, "", call, state, 0.0, error=error, exit_code=int(bool(error))
        )
        self.ended.append(view)
        return view

    async def hosts(self) -> tuple[HostView, ...]:
        return tuple(replace(h, role=self._role(h.name)) for h in self.known.values())

    async def put_host(self, host: HostView) -> HostView:
        known = self.known.get(host.name)
        moved = known and (known.address, known.port) != (host.address, host.port)
        if moved and self._role(host.name):
            raise Conflict("it has a role")
        self.calls.append(f"put {host.name}")
        self.known[host.name] = host
        return host

    async def forget_host(self, name: str) -> None:
        if self._role(name):
            raise Conflict(f"{name} is {self._role(name)}")
        self.calls.append(f"forget {name}")
        del self.known[name]

    async def clusters(self) -> tuple[ClusterView, ...]:
        return tuple(
            ClusterView(c.name, state, "", c.host, c.policy, c.location, 0, 0, 0, 0.0)
            for c, state in self.made.values()
        )

    async def workers(self) -> tuple[WorkerView, ...]:
        return tuple(
            WorkerView(w.name, w.cluster, w.host, state, 0, asked=w)
            for w, state in self.joined.values()
        )

    async def look(self, request: LookRequest) -> FleetLook:
        hosts = tuple(dict.fromkeys(plan.host for plan in request.plans))
        plans = tuple(self._plan(plan) for plan in request.plans)
        return FleetLook(plans, HostCheck(hosts, tuple(self.findings)), "new")

    def _plan(self, asked: PlanRequest) -> HostPlan:
        if asked.host in self.unreachable:
            return HostPlan(asked.host, fault=f"{asked.host} does not answer", exit_code=4)
        rows = {**self.made, **self.joined}
        wanted = asked.cluster or asked.worker
        if wanted is None:
            return HostPlan(asked.host)
        name = asked.cluster.name if asked.cluster else f"{wanted.cluster}/{wanted.name}"
        holds = name in rows and rows[name] == (wanted, "ready")
        states = {"base: it": holds, "base: switch to it": name not in self.outdated}
        return HostPlan(
            asked.host,
            tuple(
                StepEvent(0.0, asked.host, step, "skipped" if held else "planned", "missing")
                for step, held in states.items()
            ),
        )

    async def upgrade_cluster(self, name: str) -> OperationView:
        return self._end(f"upgrade {name}", lambda: self.outdated.discard(name), name)

    async def upgrade_worker(self, cluster: str, name: str) -> OperationView:
        full = f"{cluster}/{name}"
        return self._end(f"upgrade {full}", lambda: self.outdated.discard(full), full)

    async def put_cluster(self, request: ClusterCreate) -> OperationView:
        self._registered(request.host)
        known = self.made.get(request.name)
        if known is not None and (known[0].host != request.host or known[1] == "removing"):
            raise Conflict(f"there is a cluster {request.name} already")
        if known is None:
            if any(c.host == request.host for c, _ in self.made.values()):
                raise Conflict("that host orchestrates already")
            self.made[request.name] = (request, "creating")

        def finish() -> None:
            self.made[request.name] = (request, "ready")
            self.outdated.discard(request.name)

        return self._end(f"cluster {request.name}", finish)

    async def put_worker(self, request: WorkerAdd) -> OperationView:
        self._registered(request.host)
        name = f"{request.cluster}/{request.name}"
        if self.made.get(request.cluster, ("", ""))[1] != "ready":
            raise Conflict(f"cluster {request.cluster} is not ready")
        known = self.joined.get(name)
        if known is not None and (known[0].host != request.host or known[1] == "removing"):
            raise Conflict(f"there is a worker {name} already")
        if known is None:
            if any(w.host == request.host for w, _ in self.joined.values()):
                raise Conflict("that host is a worker already")
            self.joined[name] = (request, "joining")

        def finish() -> None:
            self.joined[name] = (request, "ready")
            self.outdated.discard(name)

        return self._end(f"worker {name}", finish)

    async def remove_cluster(
        self, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        if any(w.cluster == name for w, _ in self.joined.values()):
            raise Conflict(f"cluster {name} has workers")
        self.made[name] = (self.made[name][0], "removing")
        return self._end(f"remove cluster {name}", lambda: self.made.pop(name) and None)

    async def remove_worker(
        self, cluster: str, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        full = f"{cluster}/{name}"
        self.joined[full] = (self.joined[full][0], "removing")
        return self._end(f"remove worker {full}", lambda: self.joined.pop(full) and None)

    async def wait_operation(
        self, id: int, timeout_s: float, told: Callable[[StepEvent], None]
    ) -> OperationView:
        told(StepEvent(0.0, "h", "base: it", "done"))
        view = self.ended[id - 1]
        if view.state == "failed":
            raise OakError(view.error)
        return view

    def _registered(self, host: str) -> None:
        if host not in self.known:
            raise NotFound(f"there is no host {host}")
