"""Ends everything that an agent has left running below a prefix: `oakctl-node clear`.

Belongs here: what a removal of the worker needs, once its agent is stopped for good. Does not
belong here: removing files, which is the work of whoever put them there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.orchestration.worker import cgroup, containers, procfs, storage

DEADLINE_S = 10.0
STEP_S = 0.02


def clear(prefix: str) -> int:
    """Kill every instance and shim below `prefix`, take control groups away; returns how many.

    Raises DeadlineExceeded when processes do not end within 10 s.
    """
    instances = HostLayout(prefix).instance("") + "/"
    end = time.monotonic() + DEADLINE_S
    killed: set[int] = set()
    while found := _left(instances):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        if time.monotonic() > end:
            raise DeadlineExceeded(
                f"waited {DEADLINE_S:.0f} s for the end of processes {sorted(found)}",
                hint="look at them with `ps`; a process in state D waits for its disk",
            )
        time.sleep(STEP_S)
    limits = cgroup.probe(cgroup.node_group(prefix))
    limits.sweep(set())
    limits.close()
    return len(killed)


def clear_containers(prefix: str) -> int:
    """Take every container of ours away that a worker below `prefix` made; returns how many.

    Named volumes stay: they are data. A Docker that is stopped runs no container, and none of
    ours is ever started by it. Raises OakError when Docker refuses.
    """
    config = storage.read_message(Path(HostLayout(prefix).etc("worker.json")), WorkerConfig)
    socket = containers.socket_of(config) if config else ""
    if not socket or not Path(socket).exists():
        return 0
    from oakctl.orchestration.worker.docker.engine import Engine
    from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused

    try:
        engine = Engine(socket)
        found = engine.containers(prefix)
        for id_ in found:
            engine.remove(id_)
        engine.close()
    except EngineAway:
        return 0
    except EngineRefused as error:
        raise OakError(f"Docker keeps a container: {error}", hint="docker ps -a") from error
    return len(found)


def _left(instances: str) -> set[int]:
    everyone = [stat.pid for stat in procfs.all_stats() if stat.state not in "ZX"]
    return {pid for pid in everyone if _belongs(pid, instances)}


def _belongs(pid: int, instances: str) -> bool:
    """An instance is told by its HOME, its shim and launcher by their arguments."""
    directory = instances.encode()
    home = b"HOME=" + directory
    if any(variable.startswith(home) for variable in _words(pid, "environ")):
        return True
    words = _words(pid, "cmdline")
    ours = b"oakctl-shim" in words or any(word.endswith(b"/launcher.py") for word in words)
    return ours and any(word.startswith(directory) for word in words)


def _words(pid: int, file: str) -> list[bytes]:
    try:
        return Path(procfs.PROC, str(pid), file).read_bytes().split(b"\0")
    except OSError:
        return []
