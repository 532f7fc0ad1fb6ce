"""The secrets of instances on this node: asked for before each start, kept in memory alone.

Belongs here: when they are asked for, what an instance is given of them. Does not belong here:
where they lie (`memory`), the bus (`SecretSource` is all that is asked of it). While the cluster
does not answer, an instance that was started before is started with what it was given then.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oakctl.model import secrets, wire
from oakctl.model.messages import SecretsAnswer
from oakctl.model.secrets import SecretUse
from oakctl.orchestration.worker import memory, storage
from oakctl.orchestration.worker.artifacts import Status
from oakctl.orchestration.worker.fetching import NotDelivered
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.orchestration.worker.memory import Memory, NoMemory
from oakctl.orchestration.worker.needs import Need

log = logging.getLogger("oakctl.worker.secrets")

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 15.0


class SecretSource(Protocol):
    """Where secrets come from."""

    async def secrets(self, instance: str) -> SecretsAnswer:
        """Those of an instance of this worker; raises NotDelivered."""


@dataclass(frozen=True)
class Kept:
    """What an instance was given: the variables, and the names of its files.

    The launcher reads `environment`.
    """

    uses: tuple[SecretUse, ...]
    environment: dict[str, str] = field(default_factory=dict, repr=False)


class Secrets:
    """Of all instances below one prefix; `changed` is called when a status changes."""

    def __init__(self, prefix: str, source: SecretSource, changed: Callable[[], None]) -> None:
        self._source = source
        self._changed = changed
        self._memory: Memory | None = None
        self.reason = ""  # why this node takes none
        try:
            self._memory = Memory(memory.place(prefix))
        except NoMemory as error:
            self.reason = str(error)
        self._present: set[Need] = set()
        self._had: set[Need] = set()  # with which a start was made
        self._status: dict[Need, Status] = {}
        self._tasks: dict[Need, asyncio.Task[None]] = {}

    @property
    def present(self) -> Set[Need]:
        """Those that are here for the next start."""
        return self._present

    def status(self, need: Need) -> Status:
        """How far they are."""
        here = need in self._present or need in self._had
        return self._status.get(need, Status(1.0 if here else 0.0))

    def fetch(self, need: Need) -> None:
        """See to it that they come; does nothing when that is under way."""
        if need not in self._present and need not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._until_present(need))
            self._tasks[need] = task
            task.add_done_callback(lambda _: self._tasks.pop(need, None))

    def spent(self, name: str) -> None:
        """A start was made with them: the next one asks again."""
        used = {need for need in self._present if need.name == name}
        self._present -= used
        self._had |= used

    def keep_only(self, wanted: Set[Need]) -> None:
        """Stop asking for what nobody wants."""
        for need in self._tasks.keys() - wanted:
            self._tasks[need].cancel()
        for need in self._status.keys() - wanted:
            del self._status[need]
        self._present &= wanted
        self._had &= wanted

    def sweep(self, alive: Set[str]) -> None:
        """Take away what instances had that will not be started any more."""
        if self._memory is not None:
            for name in self._memory.names() - alive - {need.name for need in self._tasks}:
                self._memory.remove(name)

    async def close(self) -> None:
        """End what is under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- for starts ---

    def for_process(self, name: str, user: int | None) -> Path:
        """The directory with the instance's files, which are now that user's alone."""
        here = self._here()
        here.give(name, user)
        return here.files(name)

    def for_container(self, name: str, uses: Iterable[SecretUse]) -> dict[str, str]:
        """Path in the container → file here that is mounted there."""
        here = self._here()
        here.open_to_container(name)
        files = (use for use in uses if use.kind == secrets.FILE)
        return {use.path: str(here.files(name) / file_of(use)) for use in files}

    def kept(self, name: str) -> Path:
        """The file with the instance's variables, for the launcher."""
        return self._here().kept(name)

    def environment(self, name: str) -> Mapping[str, str]:
        """The variables of an instance; none where it was given none."""
        if self._memory is None:
            return {}
        found = storage.read_message(self._memory.kept(name), Kept)
        return found.environment if found else {}

    def _here(self) -> Memory:
        if self._memory is None:
            raise CannotStart(f"this node takes no secrets: {self.reason}")
        return self._memory

    # --- getting them ---

    async def _until_present(self, need: Need) -> None:
        delay = FIRST_RETRY_S
        while problem := await self._get(need):
            log.warning("%s: %s", need.name, problem)
            told = Status(0.0, problem)
            if self._status.get(need) != told:
                self._status[need] = told
                self._changed()
            await asyncio.sleep(delay)
            delay = min(LONGEST_RETRY_S, delay * 2)
        self._status.pop(need, None)
        self._present.add(need)
        self._changed()

    async def _get(self, need: Need) -> str:
        """Have them in memory; why not, in words, when that cannot be now."""
        if self._memory is None:
            return f"this node takes no secrets: {self.reason}"
        try:
            answer = await self._source.secrets(need.name)
        except NotDelivered as error:
            before = storage.read_message(self._memory.kept(need.name), Kept)
            if before is not None and before.uses == need.secrets:
                log.info("%s: %s; it is given the secrets that it had", need.name, error)
                return ""
            return f"its secrets: {error}"
        if answer.error:
            return f"its secrets: {answer.error}"
        try:
            kept, files = given(need.secrets, answer)
            self._memory.write(need.name, wire.encode(kept), files)
        except (ValueError, NoMemory) as error:
            return str(error)
        except OSError as error:
            return f"its secrets: {storage.in_words(error)}"
        return ""


def given(uses: tuple[SecretUse, ...], answer: SecretsAnswer) -> tuple[Kept, dict[str, bytes]]:
    """What an instance gets of an answer: variables, and files by name.

    Raises ValueError, in words, when a secret is not in it or cannot be a variable.
    """
    values = {one.name: one for one in answer.secrets}
    environment: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for use in uses:
        if use.name not in values:
            raise ValueError(f"secret {use.name} was not sent")
        content = values[use.name].content
        if use.kind == secrets.FILE:
            files[file_of(use)] = content
            continue
        problem = secrets.not_a_variable(content)
        if problem:
            raise ValueError(f"secret {use.name} {problem}")
        environment[use.target] = content.decode()
    return Kept(uses, environment), files


def file_of(use: SecretUse) -> str:
    """The name of its file here; those for a path in a container have one of their own."""
    if not use.target.startswith("/"):
        return use.target
    return f"at-{hashlib.sha256(use.target.encode()).hexdigest()[:16]}"
