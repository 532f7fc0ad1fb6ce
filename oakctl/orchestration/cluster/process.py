"""The orchestrator process: configuration in, signals, exit code out.

Belongs here: what surrounds an `Orchestrator` in a process of its own. Does not belong here: what
it does (`orchestrator`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from oakctl.errors import Conflict, ExitCode, OakError
from oakctl.model import wire
from oakctl.model.config import ClusterConfig, HostLayout
from oakctl.orchestration.cluster.orchestrator import Orchestrator

log = logging.getLogger("oakctl.cluster")


def main(config_path: str) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        config = _read_config(config_path)
        with _only_one(HostLayout(config.prefix)):
            asyncio.run(_run(config))
    except OakError as error:
        log.error("%s%s", error.message, f" ({error.hint})" if error.hint else "")
        return int(error.exit_code)
    return int(ExitCode.DONE)


def _read_config(path: str) -> ClusterConfig:
    try:
        return wire.decode(Path(path).read_bytes(), ClusterConfig)
    except (OSError, wire.Malformed) as error:
        raise OakError(f"{path}: {error}", hint="run `oakctl cluster create` again") from error


@contextlib.contextmanager
def _only_one(layout: HostLayout) -> Iterator[None]:
    """Two that write the same buckets would undo each other's work."""
    path = Path(layout.run("orchestrator.lock"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"another orchestrator runs here ({path} is locked)") from error
        yield


async def _run(config: ClusterConfig) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    asking_to_end = loop.create_task(ended.wait())
    orchestrator = Orchestrator(config)
    working = loop.create_task(orchestrator.run())
    try:
        await asyncio.wait({asking_to_end, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (asking_to_end, working):
            task.cancel()
        await asyncio.gather(asking_to_end, working, return_exceptions=True)
        await orchestrator.close()
