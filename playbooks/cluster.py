"""Cluster: the orchestrator beside its bus."""

from __future__ import annotations

from oakctl.model import subjects, wire
from oakctl.model.config import BUS_PORT, BusAccess, ClusterConfig, Unit
from oakctl.remote.bootstrap import ClusterInputs, bus_address
from oakctl.remote.declared import declared_location
from oakctl.remote.step import Remote, Step
from oakctl.remote.supervisor import changes_with, unit_step


def steps(inputs: ClusterInputs) -> list[Step]:
    return [configuration(inputs), unit()]


def configuration(inputs: ClusterInputs) -> Step:
    def wanted(remote: Remote) -> bytes:
        return wire.encode(
            ClusterConfig(
                cluster=inputs.cluster,
                prefix=str(remote.layout.prefix),
                bus=access(remote, inputs.cluster, subjects.USER_ORCHESTRATOR),
                watcher=access(remote, inputs.cluster, subjects.USER_WATCHER),
                node_subnets=inputs.node_subnets,
                policy=inputs.policy,
                location=inputs.location or declared_location(remote.facts),
            )
        )

    def check(remote: Remote) -> str:
        current = remote.read(remote.layout.etc("cluster.json"))
        if current is None:
            return "missing"
        return "" if current == wanted(remote) else "differs"

    def apply(remote: Remote) -> None:
        remote.put(remote.layout.etc("cluster.json"), wanted(remote))

    return Step("cluster: configuration", check, apply)


def access(remote: Remote, cluster: str, user: str) -> BusAccess:
    layout = remote.layout
    return BusAccess(
        url=f"tls://{bus_address(remote) or '127.0.0.1'}:{BUS_PORT}",
        tls_hostname=cluster,
        ca_file=layout.etc("bus/ca.pem"),
        user=user,
        secret_file=layout.etc(f"bus/{user}.secret"),
    )


def unit() -> Step:
    def wanted(remote: Remote) -> Unit:
        layout = remote.layout
        config = layout.etc("cluster.json")
        return Unit(
            "orchestrator",
            (remote.python, layout.archive, "cluster", "--config", config),
            environment=changes_with(remote, config, layout.etc("bus/ca.pem")),
        )

    return unit_step("cluster: start the orchestrator", "orchestrator", wanted)
