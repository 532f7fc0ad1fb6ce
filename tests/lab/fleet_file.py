"""`fleet.yaml` for the lab's hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.lab.fleet_hosts import Host
from tests.lab.operator_tool import Operator


def described(hosts: Mapping[str, Host]) -> dict[str, Any]:
    """`orch` is the orchestrator of cluster `edge`; all others are its workers."""
    workers = [{"name": name, "host": name} for name in hosts if name != "orch"]
    return {
        "hosts": [
            {
                "name": host.name,
                "address": host.view.address,
                "user": host.view.user,
                "identity_file": host.view.identity_file,
            }
            for host in hosts.values()
        ],
        "clusters": [
            {
                "name": "edge",
                "orchestrator": "orch",
                "location": "48.26,11.67",
                "workers": [{**worker, "labels": {"lab": "yes"}} for worker in workers],
            }
        ],
    }


def written(operator: Operator, hosts: Mapping[str, Host]) -> Path:
    """The file, in the home of `operator`."""
    file = operator.home / "fleet.yaml"
    file.write_text(yaml.safe_dump(described(hosts)))
    return file


def password(operator: Operator, hosts: Mapping[str, Host]) -> tuple[str, ...]:
    """The arguments that stand for the password for sudo; all hosts that ask have the same."""
    asking = [host for host in hosts.values() if host.password]
    return operator.password_file(asking[0]) if asking else ()
