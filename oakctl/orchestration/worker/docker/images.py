"""Images on this node: there, or pulled, and taken away when nobody wants them any more.

Belongs here: the pull policy, retries, progress, the ledger of what we brought. Does not belong
here: which images go (`housekeeping`), Docker's errors in words (`words`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

from oakctl.model import images as pushed_images
from oakctl.model import wire
from oakctl.model.secrets import SecretValue
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.artifacts import Status
from oakctl.orchestration.worker.containers import Login
from oakctl.orchestration.worker.docker import housekeeping, layers, words
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.effort import Effort
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.housekeeping import Brought, Ledger
from oakctl.orchestration.worker.docker.progress import PullProgress
from oakctl.orchestration.worker.docker.pushed import PushedImages
from oakctl.orchestration.worker.fetching import NotDelivered
from oakctl.orchestration.worker.needs import Need

log = logging.getLogger("oakctl.worker.docker")

T = TypeVar("T")

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
PULL_S = 3600.0  # a large image over a bad uplink
SILENT_S = 180.0  # a slow disk verifies and unpacks a layer without a word
TIDY_EVERY_S = 60.0
PULLS_AT_ONCE = 2


class NotHere(Exception):
    """An image cannot be had now; the text says why, for people."""


class WrongPlatform(NotHere):
    """There is none for this node."""


class Images:
    """The images of one node; `changed` is called when a status changes.

    Without `pushed` there are none but those of registries.
    """

    def __init__(
        self,
        driver: Driver,
        ledger: Path,
        changed: Callable[[], None],
        keep_s: float = housekeeping.KEEP_UNUSED_S,
        pushed: PushedImages | None = None,
        login: Login | None = None,
    ) -> None:
        self._login = login
        self._pushed = pushed
        self._driver = driver
        self._changed = changed
        self._path = ledger
        self._keep_s = keep_s
        self._ledger = storage.read_message(ledger, Ledger) or Ledger()
        self._tasks: dict[Need, asyncio.Task[None]] = {}
        self._efforts: dict[Need, Effort] = {}
        self._pulls = asyncio.Semaphore(PULLS_AT_ONCE)
        self._tidied = 0.0
        self._tidying: asyncio.Task[None] | None = None
        self._ids: dict[Need, str] = {}

    @property
    def present(self) -> Set[Need]:
        """What is there; nothing while Docker is away, so that nothing is started then."""
        return frozenset() if self._driver.engine is None else self._ids.keys()

    def id(self, need: Need) -> str:
        """The image's id; raises KeyError when it is not present."""
        return self._ids[need]

    def status(self, need: Need) -> Status:
        """How far it is; while Docker is away, that."""
        if need in self._ids and not self._driver.trouble:
            return Status(1.0)
        effort = self._efforts.get(need, Effort())
        signs = effort.signs_at(time.monotonic())
        return Status(effort.share, self._driver.trouble or effort.problem, signs, effort.unfit)

    def fetch(self, need: Need) -> None:
        """See to it that it comes; does nothing when that is under way."""
        if need not in self._ids and need not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._until_present(need))
            self._tasks[need] = task
            task.add_done_callback(lambda _: self._tasks.pop(need, None))

    def lost(self, need: Need) -> None:
        """A start found that it is not there after all."""
        self._ids.pop(need, None)

    def keep_only(self, wanted: Set[Need], now: float) -> None:
        """Stop fetching what nobody wants; now and then, remove what has not been wanted long."""
        for need in self._tasks.keys() - wanted:
            self._tasks[need].cancel()
        for need in self._efforts.keys() - wanted:
            del self._efforts[need]
        for need in self._ids.keys() - wanted:
            del self._ids[need]
        if now - self._tidied >= TIDY_EVERY_S and (self._tidying is None or self._tidying.done()):
            self._tidied = now
            references = {name for need in wanted for name in _references(need)}
            references |= set(self._ids.values())
            if self._pushed is not None:
                blobs = (blob for need in wanted for image in need.pushed for blob in image.blobs)
                self._pushed.tidy(frozenset(blobs))
            self._tidying = asyncio.get_running_loop().create_task(self.tidy(references, now))

    async def tidy(self, wanted: Set[str], now: float) -> None:
        """Remove images of ours that have gone unwanted, by age and by the disk's pressure."""
        self._keep(housekeeping.noted(self._ledger, wanted, now))
        engine = self._driver.engine
        if engine is None:
            return
        free = _free_share(engine.facts.root)
        for image in housekeeping.removable(self._ledger, now, free, self._keep_s):
            try:
                if await self._let_go(engine, image):
                    self._keep(self._ledger.without(image.reference))
                    log.info("image %s is not used any more and was removed", image.reference)
            except (EngineAway, EngineRefused) as error:
                log.warning("image %s cannot be removed: %s", image.reference, error)

    async def _let_go(self, engine: Engine, image: Brought) -> bool:
        """Whether nothing of it is ours any more."""
        if image.nameless:
            names = await self._call(engine.names, image.id)
            if names:  # somebody's: removing it by its id would take the name too
                return False
            return names is None or await self._call(engine.untag, image.id)
        found = await self._call(engine.image, image.reference)
        # Somebody may have given its name to another image since; that one is not ours.
        ours = found is not None and found[0] == image.id
        return not ours or await self._call(engine.untag, image.reference)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [*self._tasks.values(), *([self._tidying] if self._tidying else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_present(self, need: Need) -> None:
        delay = FIRST_RETRY_S
        while True:
            unfit = ""
            self._efforts[need] = self._effort(need).begun(time.monotonic())
            try:
                self._ids[need] = await self._get(need)
                break
            except NotHere as error:
                problem, engine = str(error), self._driver.engine
                if engine is not None and isinstance(error, WrongPlatform):
                    unfit = engine.facts.platform
            except (EngineAway, EngineRefused) as error:
                problem = words.in_words(str(error))
            except NotDelivered as error:
                problem = str(error)
            except OSError as error:
                problem = storage.in_words(error)
            log.warning("image %s: %s", need.name, problem)
            told = f"image {need.name}: {problem}"
            self._efforts[need] = self._effort(need).failed(time.monotonic(), told, unfit)
            self._changed()
            await asyncio.sleep(delay)
            delay = min(LONGEST_RETRY_S, delay * 2)
        self._efforts.pop(need, None)
        self._changed()

    def _effort(self, need: Need) -> Effort:
        return self._efforts.get(need, Effort())

    async def _get(self, need: Need) -> str:
        engine = self._driver.engine
        if engine is None:
            raise EngineAway(self._driver.trouble)
        if need.pushed:
            return await self._get_pushed(need, engine.facts.platform)
        reference = pushed_images.known_as(need.name)
        found = await self._call(engine.image, reference)
        if found is None and need.pull == "never":
            raise NotHere("it is not on this node, and `pull: never` keeps it from being pulled")
        if found is None or need.pull == "always":
            before = found[0] if found is not None else ""
            theirs = bool(before) and not self._ledger.has(reference)
            found = await self._pull(need, reference)
            # A name that was here before us stays somebody else's, also when we make it newer;
            # what we brought goes by its id, once it has lost the name to an even newer one.
            if found[0] != before or not theirs:
                name = found[0] if theirs else reference
                self._keep(self._ledger.with_image(name, found[0]))
        id_, platform = found
        if platform != engine.facts.platform:
            raise WrongPlatform(f"it is for {platform}, this node is {engine.facts.platform}")
        return id_

    async def _get_pushed(self, need: Need, platform: str) -> str:
        image = pushed_images.for_platform(need.pushed, platform)
        if image is None:
            built = ", ".join(sorted(one.platform for one in need.pushed))
            raise WrongPlatform(f"it was pushed for {built}, this node is {platform}")
        engine, reference = self._driver.engine, layers.reference(image)
        if engine is None or self._pushed is None:
            raise EngineAway(self._driver.trouble)
        found = await self._call(engine.image, reference)
        if found is None:
            await self._pushed.bring(image, lambda share: self._on_progress(need, share))
            found = await self._call(engine.image, reference)
            if found is None:
                raise NotHere("it was loaded and is not there")
            log.info("image %s: loaded as %s", need.name, reference)
        self._keep(self._ledger.with_image(reference, found[0]))
        return found[0]

    async def _pull(self, need: Need, reference: str) -> tuple[str, str]:
        engine = self._driver.engine
        if engine is None:
            raise EngineAway(self._driver.trouble)
        # At each pull anew: it may have been changed, and is kept nowhere here.
        login = await self._login(need.name) if self._login else None
        loop, progress = asyncio.get_running_loop(), PullProgress()
        said, unwanted = asyncio.Event(), threading.Event()

        def report(line: Mapping[str, Any]) -> None:
            if unwanted.is_set() or loop.is_closed():
                raise EngineAway(f"{reference} is not waited for any more")
            share = progress.take(line)
            loop.call_soon_threadsafe(self._on_progress, need, share)
            loop.call_soon_threadsafe(said.set)

        async with self._pulls:
            log.info("image %s: pulling", reference)
            call = self._driver.calls.run_long(
                engine.pull, reference, engine.facts.platform, report, credentials(login),
                what=f"pulling {reference}", deadline_s=PULL_S,
            )  # fmt: skip
            try:
                await _unless_silent(call, said, reference)
            except EngineRefused as error:
                kind = WrongPlatform if words.says_no_platform(str(error)) else NotHere
                raise kind(words.of_pull(str(error), reference, login)) from error
            finally:
                unwanted.set()
        found = await self._call(engine.image, reference)
        if found is None:
            raise NotHere("it was pulled and is not there")
        return found

    def _on_progress(self, need: Need, share: float) -> None:
        before = self._effort(need)
        if need in self._tasks and need not in self._ids:
            self._efforts[need] = after = before.reached(share)
            if after.problem != before.problem or int(after.share * 20) > int(before.share * 20):
                self._changed()  # else the next regular pass will do

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await self._driver.calls.run(function, *arguments, what=f"image {arguments[0]}")

    def _keep(self, ledger: Ledger) -> None:
        if ledger == self._ledger:
            return
        self._ledger = ledger
        try:
            storage.replace_file(self._path, wire.encode(ledger))
        except OSError as error:
            log.warning("%s: %s", self._path.name, storage.in_words(error))


def credentials(login: SecretValue | None) -> dict[str, str] | None:
    """A login as Docker wants it."""
    if login is None:
        return None
    return {"username": login.username, "password": login.content.decode()}


def _references(need: Need) -> tuple[str, ...]:
    return tuple(map(layers.reference, need.pushed)) or (pushed_images.known_as(need.name),)


async def _unless_silent(
    call: Coroutine[Any, Any, None], said: asyncio.Event, reference: str
) -> None:
    """Wait for a pull as long as it says something; raises EngineAway when it is silent."""
    work = asyncio.ensure_future(call)
    try:
        while not (await asyncio.wait({work}, timeout=SILENT_S))[0]:
            if not said.is_set():
                raise EngineAway(f"nothing was heard of it for {SILENT_S:.0f} s: {reference}")
            said.clear()
        await work
    finally:
        work.cancel()


def _free_share(root: str) -> float:
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return 1.0  # not to be seen by this user: no pressure that we know of
    return usage.free / usage.total if usage.total else 1.0
