"""Images that an operator pushed: from the cluster's blobs into this node's Docker.

Belongs here: the order of things: what Docker lacks, fetched, loaded. One image at a time, so that
the next finds the layers that it has in common. Does not belong here: retries and the ledger
(`images`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from oakctl.model.images import Layer, PlatformImage
from oakctl.orchestration.worker.docker import layers
from oakctl.orchestration.worker.docker.blobs import Blobs
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.progress import PullProgress

log = logging.getLogger("oakctl.worker.docker")

T = TypeVar("T")

FETCHED = 0.7  # of the progress; the rest is Docker's unpacking
LOAD_S = 3600.0


class PushedImages:
    """Brings pushed images to one engine."""

    def __init__(self, driver: Driver, blobs: Blobs) -> None:
        self._driver = driver
        self._blobs = blobs
        self._turn = asyncio.Lock()

    async def bring(self, image: PlatformImage, progress: Callable[[float], None]) -> None:
        """Have it in Docker under its reference.

        Raises NotDelivered, OSError, EngineAway, EngineRefused.
        """
        async with self._turn:
            stacks = await self._call(self._engine().stacks, what="looking at layers")
            lacking = layers.missing(image, stacks)
            try:
                await self._bring(image, lacking, progress)
            except EngineRefused as error:
                if len(lacking) == len(image.layers):
                    raise
                # A layer that was there has gone meanwhile, or this engine keeps them otherwise.
                log.warning("loading the lacking layers alone: %s; now all of them", error)
                await self._bring(image, image.layers, progress)

    def tidy(self, wanted: frozenset[str]) -> None:
        """Drop what was fetched for images that nobody wants any more."""
        if not self._turn.locked():
            self._blobs.keep_only(wanted)

    async def _bring(
        self, image: PlatformImage, lacking: tuple[Layer, ...], progress: Callable[[float], None]
    ) -> None:
        total = image.config_size + sum(layer.size for layer in lacking)
        here = 0

        def share(more: int) -> None:
            progress(FETCHED * min(1.0, (here + more) / total))

        log.info(
            "image %s: %d of %d layers, %d bytes, are fetched",
            layers.reference(image), len(lacking), len(image.layers), total,
        )  # fmt: skip
        config = await self._blobs.fetch(image.config, share)
        here = image.config_size
        found = []
        for layer in lacking:
            found.append((layer, await self._blobs.fetch(layer.sha256, share)))
            here += layer.size
        unpacked = PullProgress(len(lacking))
        await self._load(image, layers.archive(image, config, found), unpacked, progress)
        self._blobs.drop(image.blobs)

    async def _load(
        self,
        image: PlatformImage,
        archive: Iterator[bytes],
        unpacked: PullProgress,
        progress: Callable[[float], None],
    ) -> None:
        loop = asyncio.get_running_loop()

        def report(line: Mapping[str, Any]) -> None:
            share = FETCHED + (1.0 - FETCHED) * unpacked.take(line)
            if not loop.is_closed():
                loop.call_soon_threadsafe(progress, share)

        await self._driver.calls.run_long(
            self._engine().load, archive, report,
            what=f"loading {layers.reference(image)}", deadline_s=LOAD_S,
        )  # fmt: skip

    def _engine(self) -> Engine:
        if self._driver.engine is None:
            raise EngineAway(self._driver.trouble)
        return self._driver.engine

    async def _call(self, function: Callable[..., T], *arguments: object, what: str) -> T:
        return await self._driver.calls.run(function, *arguments, what=what, deadline_s=60.0)
