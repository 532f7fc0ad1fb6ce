"""A `fleet.yaml` to begin with: of what there is already, or of machines that are named.

Belongs here: from the root's view to text. Does not belong here: reading it (`fleet.reading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from textwrap import indent
from typing import Any

import yaml

from oakctl.fleet.state import Seen, Wanted
from oakctl.model.requests import WorkerAdd
from oakctl.model.resources import Location
from oakctl.model.views import ClusterView, HostView

HEAD = """\
# What the fleet shall be. `oakctl fleet plan -f FILE` shows what differs and changes nothing,
# `oakctl fleet apply -f FILE` makes it so.
"""
EXAMPLE = """\
# clusters:
# - name: edge
#   orchestrator: HOST
#   policy: rom                       # or spread
#   workers:
#   - name: w1
#     host: HOST
#     contribution: {vcpus: 2, memory_mb: 1024}   # absent: what the host has
#     labels: {room: hall}
#     docker: true                    # Docker from the distribution, where there is none
#     overlay: host                   # no overlay there; absent: what the host can
# python_archive: cpython-install_only.tar.gz   # pushed where the host's own Python is too old
"""


STARTER = """\
# What the fleet shall be. `oakctl fleet plan -f FILE` shows what differs and what stands in the
# way, and changes nothing; `oakctl fleet apply -f FILE` makes it so, and can be run again.

hosts:                                # machines that answer SSH
{hosts}
# More of a host, where needed:
#   port: 22
#   identity_file: ~/.ssh/id_ed25519  # relative: to this file
#   jump: ["me@gate.example.org"]     # hops on the way, the first one first

clusters:
- name: edge
  {orchestrator}
  policy: rom                         # where instances go: rom (the emptiest) or spread
  # location: 48.26,11.67             # in degrees
  workers:
{workers}
  # More of a worker, where needed:
  #   contribution: {{vcpus: 2, memory_mb: 1024, vgpus: 1}}   # absent: what the host has
  #   labels: {{room: hall}}
  #   location: 48.26,11.67
"""


def starter(hosts: Sequence[HostView]) -> str:
    """A file for machines that are nothing yet: one cluster of all of them."""
    workers = [
        {"name": f"w{number}", "host": host.name}
        for number, host in enumerate(hosts[1:] or hosts, 1)
    ]
    return STARTER.format(
        hosts=_lines([_host(host) for host in hosts]),
        orchestrator=yaml.safe_dump({"orchestrator": hosts[0].name}).strip(),
        workers=indent(_lines(workers), "  "),
    )


def _lines(items: Sequence[dict[str, Any]]) -> str:
    dumped = (
        yaml.safe_dump(item, default_flow_style=True, sort_keys=False, width=1000) for item in items
    )
    return "\n".join(f"- {line.strip()}" for line in dumped)


def text(seen: Seen) -> str:
    """The file that describes what is there: applying it changes nothing.

    Where there is no cluster yet it proposes one.
    """
    if seen.hosts and not seen.clusters:
        return starter(seen.hosts)
    tree: dict[str, Any] = {"hosts": [_host(host) for host in seen.hosts]}
    asked = [worker.asked for worker in seen.workers if worker.asked is not None]
    if seen.clusters:
        tree["clusters"] = [
            _cluster(each, [worker for worker in asked if worker.cluster == each.name])
            for each in seen.clusters
        ]
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return HEAD + body + ("" if seen.clusters else EXAMPLE)


def of(wanted: Wanted) -> str:
    """The file that asks for just this."""
    tree: dict[str, Any] = {"hosts": [_host(host) for host in wanted.hosts]}
    tree["clusters"] = [
        _filled(
            {
                "name": each.name,
                "orchestrator": each.host,
                "policy": each.policy,
                "location": _place(each.location),
                "workers": [_worker(w) for w in wanted.workers if w.cluster == each.name],
            }
        )
        for each in wanted.clusters
    ]
    return HEAD + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _host(host: HostView) -> dict[str, Any]:
    plain = {
        "name": host.name,
        "address": host.address,
        "port": host.port or None,
        "user": host.user,
        "identity_file": host.identity_file,
        "jump": list(host.jump),
    }
    return _filled(plain)


def _cluster(cluster: ClusterView, workers: list[WorkerAdd]) -> dict[str, Any]:
    plain = {
        "name": cluster.name,
        "orchestrator": cluster.host,
        "policy": cluster.policy,
        "location": _place(cluster.location),
        "workers": [_worker(worker) for worker in workers],
    }
    return _filled(plain)


def _worker(worker: WorkerAdd) -> dict[str, Any]:
    plain = {
        "name": worker.name,
        "host": worker.host,
        "contribution": _filled(asdict(worker.contribution)),
        "declared": list(worker.declared),
        "labels": dict(worker.labels),
        "docker": worker.docker,
        "overlay": worker.overlay,
        "endpoint": worker.endpoint,
        "relay": worker.relay,
        "location": _place(worker.location),
    }
    return _filled(plain)


def _place(location: Location | None) -> dict[str, float] | None:
    return asdict(location) if location else None


def _filled(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value}
