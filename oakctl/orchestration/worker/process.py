"""The agent as a process: `oakctl-node worker --config FILE`.

Belongs here: configuration, logging, signals, exit codes. Does not belong here: what the agent
does (`agent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from oakctl.errors import Conflict, ExitCode, UsageError
from oakctl.model import wire
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.orchestration.worker import identity, refusals
from oakctl.orchestration.worker.agent import Agent
from oakctl.orchestration.worker.link import Refused

log = logging.getLogger("oakctl.worker")

REPEAT_S = 30.0
MOST_REMEMBERED = 256
REFUSED = 3  # the cluster wants no word from this worker


class Repeats(logging.Filter):
    """Lets the same line through once in `REPEAT_S`: a bus that is away says so four times a
    second, for as long as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, entry: logging.LogRecord) -> bool:
        """Whether the line is told."""
        text = entry.getMessage()
        if entry.created - self._told.get(text, 0.0) < REPEAT_S:
            return False
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        self._told[text] = entry.created
        return True


def main(config_path: str) -> int:
    """Run the agent until SIGTERM or SIGINT; returns the exit code.

    0: asked to end. 3: refused by the cluster. Raises UsageError for a bad configuration,
    Conflict when another agent runs with the same prefix.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats())
    config = read_config(config_path)
    for directory in ("state/agent", "run", "instances", "artifacts"):
        Path(config.prefix, directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    if identity.separate_users(config.overlay_driver):
        identity.open_prefix(Path(config.prefix))
    refused_file = Path(HostLayout(config.prefix).state("agent/refused"))
    with _only_agent(Path(HostLayout(config.prefix).state("agent/lock"))):
        try:
            asyncio.run(_run(config))
        except Refused as refused:
            log.error(
                "cluster %s refuses worker %s: %s; enrol it again with `oakctl worker add`",
                config.cluster,
                config.worker,
                refused,
            )
            pause_s = refusals.wait_s(refusals.count(refused_file))
            if pause_s:
                log.error("it is asked again in %.0f s; instances go on running", pause_s)
                time.sleep(pause_s)  # ended by any signal
            return REFUSED
    return int(ExitCode.DONE)


def read_config(path: str) -> WorkerConfig:
    """The configuration in `path`; raises UsageError."""
    try:
        return wire.decode(Path(path).read_bytes(), WorkerConfig)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="oakctl worker add"
        ) from error
    except wire.Malformed as error:
        raise UsageError(f"{path}: {error}", hint="oakctl worker add") from error


async def _run(config: WorkerConfig) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(Agent(config).run())
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    ended = asyncio.ensure_future(asked.wait())
    await asyncio.wait({work, ended}, return_when="FIRST_COMPLETED")
    ended.cancel()
    if asked.is_set():
        log.info("asked to end; instances go on running")
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


@contextlib.contextmanager
def _only_agent(lock: Path) -> Iterator[None]:
    """Two agents would start each instance twice; the second does not begin."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another agent runs with {lock.parent}", hint="oakctl-node unit status agent"
            ) from error
        yield
    finally:
        os.close(descriptor)
