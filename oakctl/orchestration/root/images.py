"""Pushed images: their names, what they consist of, and who still needs which blob.

Belongs here: taking an image in once its blobs are here, finding it for a descriptor, letting go
of what nobody needs. The blobs are artifacts like any other (`artifacts`): kept by sha256, sent to
a cluster when it needs them. Does not belong here: archives (`client`), Docker (the worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model import architectures, images
from oakctl.model.images import Layer
from oakctl.model.messages import ClusterState
from oakctl.model.requests import ImagePush
from oakctl.model.service import Code, ServiceSpec
from oakctl.model.views import ImageProgress, ImageView
from oakctl.orchestration.root.artifacts import PIECE, Artifacts
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import events, records, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.sla import Application

LONGEST_NAME = 255
TELL_EVERY_S = 0.5


class Images:
    """The images that were pushed to this root."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts

    async def all(self) -> Sequence[ImageView]:
        """Every one, with the services that use it, by name."""
        return await self._store.run(lambda db: [_used(db, view) for view in records.images(db)])

    async def known_layers(self, diff_ids: Sequence[str]) -> tuple[Layer, ...]:
        """Those of these layers whose blobs are here already."""
        asked = frozenset(diff_ids)
        stored = await self._store.run(records.images)
        layers = {
            layer.diff_id: layer
            for view in stored
            for image in view.images
            for layer in image.layers
            if layer.diff_id in asked
        }
        return tuple([one for one in layers.values() if await self._artifacts.has(one.sha256)])

    async def put(self, push: ImagePush) -> ImageView:
        """Give an image its name; durable when this returns.

        An image that had the name before goes, except for what services still run of it. Raises
        UsageError for what cannot be an image, NotFound when a blob of it is not here.
        """
        _check(push)
        for blob in _blobs(push):
            if not await self._artifacts.has(blob):
                raise NotFound(
                    f"image {push.name}: {blob[:12]} of it was not uploaded",
                    hint=f"oakctl image push {push.name}",
                )
        now = time.time()
        view = ImageView(images.known_as(push.name), push.images, now)

        def note(db: Database) -> tuple[ImageView, set[str]]:
            before = _named(db, view.name)
            records.put_image(db, view)
            platforms = ", ".join(image.platform for image in view.images)
            events.append(db, now, "image.pushed", view.name, f"is here, for {platforms}")
            return _used(db, view), _unneeded(db, _blobs(before)) if before else set()

        stored, unneeded = await self._store.run(note)
        await self._artifacts.forget(unneeded)
        return stored

    async def remove(self, name: str) -> ImageView:
        """Forget it, and blobs that nothing else needs. Raises NotFound; Conflict while a
        service uses it."""
        known = images.known_as(name)

        def note(db: Database) -> tuple[ImageView, set[str]]:
            found = _named(db, known)
            if found is None:
                raise NotFound(f"no image {known} was pushed", hint="oakctl image ls")
            view = _used(db, found)
            if view.services:
                raise Conflict(
                    f"image {known} is used by {', '.join(view.services)}",
                    hint="oakctl app delete NAME ends what uses it",
                )
            records.forget_image(db, known)
            events.append(db, time.time(), "image.removed", known, "is forgotten")
            return view, _unneeded(db, _blobs(view))

        view, unneeded = await self._store.run(note)
        await self._artifacts.forget(unneeded)
        return view

    async def resolve(self, applications: Sequence[Application]) -> tuple[Application, ...]:
        """The applications with what their containers' images consist of, where those were pushed.

        A pushed image goes before one of the same name in a registry, except with `pull: always`.
        """
        known = {view.name: view for view in await self._store.run(records.images)}
        return tuple(
            replace(app, services=tuple(_with_image(spec, known) for spec in app.services))
            for app in applications
        )

    async def send(self, link: Link, name: str) -> AsyncGenerator[ImageProgress, None]:
        """Have it complete in a cluster, ahead of any service; raises NotFound, and what
        `Artifacts.send` raises."""
        found = await self._store.run(lambda db: _named(db, images.known_as(name)))
        if found is None:
            raise NotFound(f"no image {name} was pushed", hint=f"oakctl image push {name}")
        way = _Way(found)
        work = asyncio.ensure_future(self._send(link, found, way))
        try:
            while not (await asyncio.wait({work}, timeout=TELL_EVERY_S))[0]:
                yield way.told()
            await work
            yield replace(way.told(), ended=True)
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(work, return_exceptions=True)

    async def _send(self, link: Link, view: ImageView, way: _Way) -> None:
        for blob in _blobs(view):
            await self._artifacts.send(link, blob, way.progress())
            way.finished(blob)


@dataclass
class _Way:
    """How far an image is on its way to a cluster, in bytes."""

    view: ImageView
    there: int = 0
    underway: int = 0
    sent: int = 0

    def progress(self) -> Callable[[int, int], None]:
        """What is to be told of one blob."""
        before = -1

        def take(done: int, size: int) -> None:
            nonlocal before
            # An earlier transfer may have brought some of it: the first piece is all we know of.
            self.sent += done - before if before >= 0 else (done - 1) % PIECE + 1
            before = self.underway = done

        return take

    def finished(self, blob: str) -> None:
        """It is complete."""
        self.there += _sizes(self.view)[blob]
        self.underway = 0

    def told(self) -> ImageProgress:
        """In words of the API."""
        total = sum(_sizes(self.view).values())
        return ImageProgress(self.there + self.underway, total, self.sent)


def fits(spec: ServiceSpec, state: ClusterState | None) -> bool:
    """Whether a worker of the cluster can run one of the service's images: else nothing is sent."""
    codes = spec.every_code()
    if state is None or not all(one.images for one in codes):
        return True
    facts = (worker.facts.containers for worker in state.workers if worker.facts is not None)
    platforms = {image.platform for one in codes for image in one.images}
    return any(containers.platform in platforms for containers in facts)


def unneeded_without(db: Database, spec: ServiceSpec) -> set[str]:
    """Blobs of the images of a service that is gone, which nothing else needs: their names may be
    another image's by now, so that nobody else lets go of them. They are forgotten with this."""
    return _unneeded(db, (blob for image in spec.images for blob in image.blobs))


def _check(push: ImagePush) -> None:
    name = push.name
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or " " in name or "@" in name:
        raise UsageError(f"{name[:LONGEST_NAME]!r} cannot be the name of an image")
    platforms = [image.platform for image in push.images]
    if not platforms or len(set(platforms)) < len(platforms):
        raise UsageError(f"image {name}: it needs one image for each of its platforms")
    for image in push.images:
        if wrong := images.fault(image):
            raise UsageError(f"image {name}, {image.platform}: {wrong}")


def _blobs(given: ImagePush | ImageView) -> tuple[str, ...]:
    return tuple(dict.fromkeys(blob for image in given.images for blob in image.blobs))


def _sizes(view: ImageView) -> dict[str, int]:
    layers = {layer.sha256: layer.size for image in view.images for layer in image.layers}
    return layers | {image.config: image.config_size for image in view.images}


def _named(db: Database, name: str) -> ImageView | None:
    return next((view for view in records.images(db) if view.name == name), None)


def _used(db: Database, view: ImageView) -> ImageView:
    using = (row.spec.job_name for row in wanted.services(db) if _runs(row.spec, view))
    return replace(view, services=tuple(sorted(using)))


def _runs(spec: ServiceSpec, view: ImageView) -> bool:
    if not spec.codes:
        return spec.images == view.images
    return any(one.images and set(one.images) <= set(view.images) for one in spec.codes)


def _unneeded(db: Database, blobs: Iterable[str]) -> set[str]:
    """Those of these that neither an image nor a service needs; they are forgotten with this."""
    needed = {blob for view in records.images(db) for blob in _blobs(view)}
    needed |= {blob for row in wanted.services(db) for blob in row.spec.blobs}
    unneeded = set(blobs) - needed
    for sha256 in unneeded:
        records.forget_artifact(db, sha256)
    return unneeded


def _with_image(spec: ServiceSpec, known: dict[str, ImageView]) -> ServiceSpec:
    if spec.virtualization != "container" or spec.pull == "always":
        return spec
    if spec.codes:
        return replace(spec, codes=tuple(_code_with_image(one, known) for one in spec.codes))
    view = known.get(images.known_as(spec.code))
    return replace(spec, images=view.images) if view is not None else spec


def _code_with_image(one: Code, known: dict[str, ImageView]) -> Code:
    """Of an image for several platforms the one that is for this architecture; all of them where
    none is, which the scheduler then says."""
    view = known.get(images.known_as(one.code))
    if view is None:
        return one
    own = (i for i in view.images if architectures.of_platform(i.platform) == one.architecture)
    return replace(one, images=tuple(own) or view.images)
