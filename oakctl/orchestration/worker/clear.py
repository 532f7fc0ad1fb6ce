"""Ends everything that an agent has left running below a prefix: `oakctl-node clear`.

Belongs here: what a removal of the worker needs, once its agent is stopped for good. Does not
belong here: removing files, which is the work of whoever put them there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.orchestration.worker import (
    cgroup,
    containers,
    kernel_overlay,
    memory,
    procfs,
    runtime,
    storage,
)
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.record import Record

DEADLINE_S = 10.0
STEP_S = 0.02
DOCKER_S = 15.0  # it may be in the middle of a restart
DOCKER_STEP_S = 0.5


def clear(prefix: str) -> int:
    """Kill every instance and shim below `prefix`, take control groups away; returns how many.

    Of a kernel overlay nothing is left either. Raises DeadlineExceeded when processes do not end
    within 10 s, OakError when the overlay cannot be taken away.
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
    memory.clear(prefix)
    config = storage.read_message(Path(HostLayout(prefix).etc("worker.json")), WorkerConfig)
    if config is not None:
        kernel_overlay.remove(config)
    return len(killed)


def clear_containers(prefix: str) -> int:
    """Take every container of ours away that a worker below `prefix` made; returns how many.

    Named volumes stay: they are data. A Docker that was uninstalled has no containers; one that
    does not answer may have some that run, so where this worker had any it is waited for, 15 s.
    Raises OakError when it does not come, or refuses.
    """
    config = storage.read_message(Path(HostLayout(prefix).etc("worker.json")), WorkerConfig)
    socket = containers.socket_of(config) if config else ""
    installed = Path(socket).exists() or shutil.which("dockerd") is not None
    if not socket or not installed:
        return 0
    from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused

    end = time.monotonic() + DOCKER_S
    while True:
        try:
            return _remove_containers(socket, prefix)
        except EngineAway as error:
            if not _had_containers(prefix):
                return 0
            if time.monotonic() > end:
                raise OakError(
                    f"containers of this worker may still run: {error}",
                    hint="systemctl start docker, then the same again",
                ) from error
        except EngineRefused as error:
            raise OakError(f"Docker keeps a container: {error}", hint="docker ps -a") from error
        time.sleep(DOCKER_STEP_S)


def _remove_containers(socket: str, prefix: str) -> int:
    from oakctl.orchestration.worker.docker.engine import Engine

    with contextlib.closing(Engine(socket)) as engine:
        found = engine.containers(prefix)
        for id_ in found:
            engine.remove(id_)
    return len(found)


def _had_containers(prefix: str) -> bool:
    """Whether some instance that the agent has not forgotten is a container."""
    files = InstanceFiles(prefix)
    records = (
        storage.read_message(files.directory(name) / "record.json", Record)
        for name in files.names()
    )
    return any(
        found is not None and found.desired.service.virtualization == runtime.CONTAINER
        for found in records
    )


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
