"""What containers say, brought into the logs of their instances.

Belongs here: asking Docker for what is new and adding it once. Docker keeps the output while the
agent is away; where the last look ended is stored beside the log, and what was added without
that being stored is taken back first, so nothing is lost or doubled by a kill of the agent.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from oakctl.model import wire
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.seen import Seen, key_of_record, seconds
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.record import Record

log = logging.getLogger("oakctl.worker.docker")

FRESH_S = 0.4  # a reader who waits asks again and again


@dataclass(frozen=True)
class Mark:
    """Where the last look ended: in which container, at which line, and where in our log."""

    container: str = ""
    at: str = ""  # Docker's time of the last line
    lines: int = 0  # how many lines with that very time were taken
    end: int = 0  # offset in the log behind what was taken


class Outputs:
    """Of all containers of ours."""

    def __init__(self, files: InstanceFiles, driver: Driver) -> None:
        self._files = files
        self._driver = driver
        self._marks: dict[str, Mark] = {}
        self._looked: dict[str, float] = {}

    async def freshen(self, known: Record) -> None:
        """Bring the log up to date, unless it just was; a Docker that is away changes nothing."""
        found = self._driver.seen.get(key_of_record(known))
        if found is None or time.monotonic() - self._looked.get(known.name, 0.0) < FRESH_S:
            return
        self._looked[known.name] = time.monotonic()
        await self.collect(found)

    async def collect(self, found: Seen) -> None:
        """Add what the container has said since the last look."""
        if found.key is None or not self._files.directory(found.key.name).is_dir():
            return
        name = found.key.name
        try:
            mark = self._mark(name, found.id)
            engine = self._driver.engine
            if engine is None:
                return
            lines = await self._driver.calls.run(
                engine.logs, found.id, seconds(mark.at), what=f"the output of {name}"
            )
            self._add(name, self._mark(name, found.id), found.id, lines)
        except (EngineAway, EngineRefused) as error:
            log.info("%s: its output: %s", name, error)
        except OSError as error:
            log.warning("%s: its log: %s", name, storage.in_words(error))

    def keep_only(self, names: Collection[str]) -> None:
        """Forget instances that are gone."""
        for name in self._marks.keys() - set(names):
            del self._marks[name]
        for name in self._looked.keys() - set(names):
            del self._looked[name]

    def _mark(self, name: str, container: str) -> Mark:
        if name not in self._marks:
            stored = storage.read_message(self._path(name), Mark) or Mark()
            self._take_back(name, stored.end)
            self._marks[name] = stored
        mark = self._marks[name]
        return mark if mark.container == container else Mark(container, end=mark.end)

    def _take_back(self, name: str, end: int) -> None:
        written = self._files.log(name)
        surplus = written.end - end
        if surplus > 0 and end > 0:
            size = written.path.stat().st_size
            os.truncate(written.path, max(0, size - surplus))

    def _add(self, name: str, mark: Mark, container: str, lines: list[bytes]) -> None:
        fresh, mark = new_lines(lines, mark, container)
        if not fresh:
            return
        written = self._files.log(name)
        with written.path.open("ab") as stream:
            stream.write(fresh)
        self._marks[name] = Mark(mark.container, mark.at, mark.lines, written.end)
        storage.replace_file(self._path(name), wire.encode(self._marks[name]))

    def _path(self, name: str) -> Path:
        return self._files.directory(name) / "log" / "taken.json"


def new_lines(lines: list[bytes], mark: Mark, container: str) -> tuple[bytes, Mark]:
    """The text that was not taken yet, and the mark behind it. Pure.

    Several lines may have the same time, so those taken are counted.
    """
    fresh = bytearray()
    at, taken, passed = mark.at, mark.lines, 0
    for line in lines:
        stamp, _, text = line.partition(b" ")
        time_ = stamp.decode("ascii", "replace")
        if time_ < mark.at:
            continue
        if time_ == mark.at:
            passed += 1
            if passed <= mark.lines:
                continue
        taken = taken + 1 if time_ == at else 1
        at = time_
        fresh += text
    return bytes(fresh), Mark(container, at, taken, mark.end)
