"""Cluster: the orchestrator beside its bus."""

from __future__ import annotations

from oakctl.model import subjects, wire
from oakctl.model.config import BUS_PORT, BusAccess, ClusterConfig, Unit
from oakctl.remote.declared import declared_location
from oakctl.remote.inputs import ClusterInputs, bus_address
from oakctl.remote.step import Remote, Step
from oakctl.remote.supervisor import changes_with, unit_step


def steps(inputs: ClusterInputs) -> list[Step]:
    return [configuration(inputs), rules(), unit()]


RULES = b"""\
# What roots may do in this cluster. Its orchestrator reads this file whenever it changes; the
# file is yours: oakctl writes it once and never again.
#
# It is JSON; lines that begin with # are comments. Names of roots are those of
# `oakctl cluster grant`; "*" are all granted roots without rules of their own, "root" is the
# owner's, which is free unless it is named here. A rule that is left out restricts nothing. What
# `oakctl cluster grant` says holds as well: both have to agree. What runs when a rule changes goes
# on; while the file can't be read nothing new is admitted.
#
#   namespaces     of applications, globs: "prod-*"
#   images         with their registry, globs or prefixes: "docker.io/library/*",
#                  "registry.example/rob"; "pushed:*" are pushed images, "artifact:*" programs
#   runtimes       "container", "process"
#   cpu_share      part of the cluster's cores, 0 to 1; vcpus: a number of cores
#   memory_share   part of its memory, 0 to 1; memory_mb: MiB
#   privileged     privileged containers: true or false
#   grants         capabilities, devices and paths of hosts, as far as each worker's
#                  etc/grants.json gives them: true or false
#
# {"roots": {
#   "rob": {"namespaces": ["prod-*"], "images": ["registry.example/rob"], "cpu_share": 0.5},
#   "*": {"cpu_share": 0.1, "memory_share": 0.1, "privileged": false, "grants": false}
# }}
{"roots": {}}
"""


def rules() -> Step:
    """The operator's own file: made where there is none, and never touched again."""

    def check(remote: Remote) -> str:
        return "missing" if remote.read(remote.layout.admission) is None else ""

    def apply(remote: Remote) -> None:
        remote.put(remote.layout.admission, RULES)

    return Step("cluster: rules for roots", check, apply)


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
