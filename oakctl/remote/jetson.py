"""NVIDIA Jetson: what Docker is told of its GPU, and what its vendor's kernel lacks. Pure.

Belongs here: Docker's configuration with the runtime and without. Does not belong here: reading
or writing on a host (`playbooks/jetson.py`), what a kernel lacks (`network_rules`), other boards.
"""

from __future__ import annotations

import json
from typing import Any

from oakctl.errors import OakError
from oakctl.remote import network_rules
from oakctl.remote.facts import HostFacts

CONFIGURATION = "/etc/docker/daemon.json"
RUNTIME = "nvidia"
PROGRAM = "nvidia-container-runtime"
INSTALL = "sudo apt-get install nvidia-container-toolkit"  # from NVIDIA's sources, with JetPack


def is_jetson(facts: HostFacts) -> bool:
    """Whether this is a board of NVIDIA's with its own Linux."""
    return bool(facts.l4t) or "Jetson" in facts.device


def with_runtime(text: str, path: str) -> str:
    """Docker's configuration with the NVIDIA runtime at `path` among its runtimes.

    Nothing else in it changes; the default runtime stays what it was. Raises OakError when
    `text` is no configuration.
    """
    configuration = _read(text)
    runtimes = configuration.setdefault("runtimes", {})
    if not isinstance(runtimes, dict):
        raise OakError(f"`runtimes` in {CONFIGURATION} is not an object", hint=_HINT)
    runtimes.setdefault(RUNTIME, _entry(path))
    return _text(configuration)


def without_runtime(text: str, path: str) -> str:
    """The configuration without what `with_runtime` put there; empty when nothing is left.

    A runtime of that name which somebody changed since stays. Raises OakError.
    """
    configuration = _read(text)
    runtimes = configuration.get("runtimes")
    if not isinstance(runtimes, dict) or runtimes.get(RUNTIME) != _entry(path):
        return text
    del runtimes[RUNTIME]
    if not runtimes:
        del configuration["runtimes"]
    return _text(configuration) if configuration else ""


def gaps(facts: HostFacts) -> list[str]:
    """What the kernel of this board lacks, and what follows from that."""
    return [finding.message for finding in network_rules.kernel("", facts)]


_HINT = f"mend {CONFIGURATION}: dockerd --validate --config-file {CONFIGURATION}"


def _read(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        configuration = json.loads(text)
    except ValueError as error:
        raise OakError(f"{CONFIGURATION} is not JSON: {error}", hint=_HINT) from error
    if not isinstance(configuration, dict):
        raise OakError(f"{CONFIGURATION} is not a JSON object", hint=_HINT)
    return configuration


def _entry(path: str) -> dict[str, Any]:
    return {"path": path, "runtimeArgs": []}


def _text(configuration: dict[str, Any]) -> str:
    return json.dumps(configuration, indent=4, ensure_ascii=False) + "\n"
