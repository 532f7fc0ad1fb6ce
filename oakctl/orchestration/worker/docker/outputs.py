"""What containers say, brought into the logs of their instances.

Belongs here: asking Docker for what is new and adding it once. Docker keeps the output while the
agent is away; where the last look ended is stored beside the log, and what was added without
that being stored is taken back first, so nothing is lost or doubled by a kill of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from oakctl.model import wire
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.seen import Key, Seen, key_of_record, seconds
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.record import Record

log = logging.getLogger("oakctl.worker.docker")

FRESH_S = 0.4  # a reader who waits asks again and again


@dataclass(frozen=True)
class Mark:
    """Where the last look ended: in which container, at which line, and where in our log."""

    container: str = ""
    start: tuple[int, int] = (0, 0)  # epoch and attempt of that container: later ones are greater
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
        self._turns: dict[str, asyncio.Lock] = {}

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
            # One look at a time: each goes on where the one before has ended.
            async with self._turns.setdefault(name, asyncio.Lock()):
                await self._collect(name, found, found.key)
        except (EngineAway, EngineRefused) as error:
            log.info("%s: its output: %s", name, error)
        except OSError as error:
            log.warning("%s: its log: %s", name, storage.in_words(error))

    async def _collect(self, name: str, found: Seen, key: Key) -> None:
        mark = self._mark(name)
        start, engine = (key.epoch, key.attempt), self._driver.engine
        if engine is None or (mark.container != found.id and start < mark.start):
            return  # all that an earlier container said was taken before the next one was made
        if mark.container != found.id:
            mark = Mark(found.id, start, end=mark.end)
        lines = await self._driver.calls.run(
            engine.logs, found.id, seconds(mark.at), what=f"the output of {name}"
        )
        if self._files.directory(name).is_dir():  # it may have been forgotten meanwhile
            self._add(name, mark, lines)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget instances that are gone."""
        for name in self._turns.keys() - set(names):
            if not self._turns[name].locked():
                del self._turns[name]
        for name in self._marks.keys() - set(names):
            del self._marks[name]
        for name in self._looked.keys() - set(names):
            del self._looked[name]

    def _mark(self, name: str) -> Mark:
        if name in self._marks and self._path(name).exists():  # else it was forgotten, and is new
            return self._marks[name]
        stored = storage.read_message(self._path(name), Mark)
        if stored is None:
            self._note(name, Mark(end=self._files.log(name).end))
        else:
            self._marks[name] = stored
            self._take_back(name, stored.end)
        return self._marks[name]

    def _take_back(self, name: str, end: int) -> None:
        """Nobody else writes this log: what lies behind the mark was added and not noted."""
        written = self._files.log(name)
        surplus = written.end - end
        if surplus > 0:
            size = written.path.stat().st_size
            os.truncate(written.path, max(0, size - surplus))

    def _add(self, name: str, mark: Mark, lines: list[bytes]) -> None:
        fresh, mark = new_lines(lines, mark)
        if not fresh:
            return
        written = self._files.log(name)
        with written.path.open("ab") as stream:
            stream.write(fresh)
        self._note(name, replace(mark, end=written.end))

    def _note(self, name: str, mark: Mark) -> None:
        self._marks[name] = mark
        storage.replace_file(self._path(name), wire.encode(mark))

    def _path(self, name: str) -> Path:
        return self._files.directory(name) / "log" / "taken.json"


def new_lines(lines: list[bytes], mark: Mark) -> tuple[bytes, Mark]:
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
    return bytes(fresh), replace(mark, at=at, lines=taken)
