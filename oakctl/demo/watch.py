"""Watching the AR application: its picture from its client, its figures from the root.

Belongs here: reading and adding up. Does not belong here: showing it, or judging it (`report`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx

from oakctl.client.root import RootClient
from oakctl.demo.observer import Box, DemoObserver, DemoSample, Picture
from oakctl.demo.report import Measured
from oakctl.errors import DeadlineExceeded, OakError
from oakctl.model.views import InstanceView
from oakctl.orchestration import waits

log = logging.getLogger("oakctl.demo")

CLIENT = "Client"
METRICS_PORT = 9100
PICTURE_EVERY_S = 0.25
FIGURES_EVERY_S = 1.0
VIEW_TIMEOUT_S = 1.0
FIRST_FIGURES_S = 30.0
CLIENT_WINDOW_S = 5.0  # how far back a client's own figures reach
LARGEST_PICTURE = 1 << 20  # pixels

# Where a port of an instance is to be reached from here: "ADDRESS:PORT".
Reach = Callable[[InstanceView, int], Awaitable[str]]


class Figures:
    """What the clients of the application measured, sample by sample."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, float]] = {}  # instance → (time, frames)
        self._last: dict[str, tuple[float, float]] = {}
        self._samples: list[tuple[float, DemoSample]] = []

    def add(self, clients: Sequence[InstanceView]) -> DemoSample | None:
        """Take in what the root knows of each client now; None when nothing is new."""
        fresh = [one for one in clients if self._is_fresh(one)]
        if not fresh:
            return None
        for one in fresh:
            point = (one.metrics_at, one.metrics["ar_frames_total"])
            # A client that began anew counts from zero again.
            if point[1] < self._last.get(one.name, point)[1]:
                self._first[one.name] = point
            self._first.setdefault(one.name, point)
            self._last[one.name] = point
        sample = _sample(fresh)
        self._samples.append((max(one.metrics_at for one in fresh), sample))
        return sample

    @property
    def labelled(self) -> bool:
        """Whether the whole pipeline has answered: there were labels."""
        return any(sample.labels_right > 0 for _, sample in self._samples)

    def _is_fresh(self, one: InstanceView) -> bool:
        last = self._last.get(one.name)
        known = "ar_frames_total" in one.metrics
        return known and (last is None or one.metrics_at > last[0])

    def total(self) -> Measured:
        """All of it: frames and rates between the first and the last sample.

        Latency and labels are the clients' own figures over the seconds before each sample, so
        samples that still reach back to the start of the pipeline are left out.
        """
        if not self._samples:
            return Measured()
        frames, rate = 0.0, 0.0
        for name, (at, count) in self._last.items():
            began, before = self._first[name]
            frames += count - before
            rate += (count - before) / (at - began) if at > began else 0.0
        whole = self._whole()
        return Measured(
            frames=round(frames),
            fps=rate or whole[-1].fps,
            latency_p50_ms=statistics.median(one.latency_p50_ms for one in whole),
            latency_p95_ms=max(one.latency_p95_ms for one in whole),
            labels_right=statistics.fmean(one.labels_right for one in whole),
        )

    def _whole(self) -> list[DemoSample]:
        first = next((at for at, one in self._samples if one.labels_right > 0), 0.0)
        whole = [one for at, one in self._samples if at >= first + CLIENT_WINDOW_S]
        return whole or [self._samples[-1][1]]


def _sample(clients: Sequence[InstanceView]) -> DemoSample:
    def values(name: str) -> list[float]:
        return [one.metrics.get(name, 0.0) for one in clients]

    return DemoSample(
        fps=sum(values("ar_fps")),
        latency_p50_ms=statistics.median(values("ar_latency_p50_ms")),
        latency_p95_ms=max(values("ar_latency_p95_ms")),
        labels_right=min(values("ar_labels_right_ratio")),
    )


async def watch(
    root: RootClient,
    application: str,
    observer: DemoObserver,
    seconds: float,
    enough: asyncio.Event,
    reach: Reach,
) -> Measured:
    """Watch for `seconds` from the first labels on, or until `enough` is set.

    Raises DeadlineExceeded when no figures come.
    """
    figures = Figures()
    pictures = asyncio.create_task(_show_pictures(root, application, observer, reach))
    try:
        await _first_labels(root, application, observer, figures, enough)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough.is_set():
            pause = min(FIGURES_EVERY_S, max(0.0, end - time.monotonic()))
            await waits.set_within(enough, pause)
            _tell(figures, await _clients(root, application), observer)
        return figures.total()
    finally:
        pictures.cancel()
        await asyncio.wait([pictures])


async def _first_labels(
    root: RootClient,
    application: str,
    observer: DemoObserver,
    figures: Figures,
    enough: asyncio.Event,
) -> None:
    """Return when labels have come. Figures without labels are a result too, after a while."""
    deadline = time.monotonic() + FIRST_FIGURES_S
    while not (figures.labelled or enough.is_set()):
        _tell(figures, await _clients(root, application), observer)
        if time.monotonic() > deadline:
            if figures.total().frames:
                return
            raise DeadlineExceeded(
                f"no frames from {CLIENT} of {application} within {FIRST_FIGURES_S:.0f} s",
                hint=f"oakctl instance logs {CLIENT}.instance.0",
            )
        await asyncio.sleep(PICTURE_EVERY_S)


def _tell(figures: Figures, clients: Sequence[InstanceView], observer: DemoObserver) -> None:
    sample = figures.add(clients)
    if sample is not None:
        observer.sample(sample)


async def _clients(root: RootClient, application: str) -> list[InstanceView]:
    instances = await root.instances()
    prefix = f"{application}.{CLIENT}."
    return [one for one in instances if one.job_name.startswith(prefix) and one.bind]


async def _show_pictures(
    root: RootClient, application: str, observer: DemoObserver, reach: Reach
) -> None:
    shown = -1
    async with httpx.AsyncClient(timeout=VIEW_TIMEOUT_S, trust_env=False) as http:
        while True:
            for client in (await _clients(root, application))[:1]:
                picture = await _picture(http, client, reach)
                if picture is not None and picture.frame != shown:
                    shown = picture.frame
                    observer.picture(picture)
            await asyncio.sleep(PICTURE_EVERY_S)


async def _picture(http: httpx.AsyncClient, client: InstanceView, reach: Reach) -> Picture | None:
    try:
        answer = await http.get(f"http://{await reach(client, METRICS_PORT)}/view")
        return read_picture(answer.content)
    except (httpx.HTTPError, OakError) as error:
        log.debug("no picture from %s: %s", client.name, error)
        return None


def read_picture(body: bytes) -> Picture | None:
    """The picture in an answer of `/view`; None when it is none: instances are not trusted."""
    try:
        data: Mapping[str, Any] = json.loads(body)
        width, height = int(data["width"]), int(data["height"])
        pixels = base64.b64decode(data["pixels"], validate=True)
        boxes = tuple(_box(one) for one in data["boxes"])
        frame = int(data["frame"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None
    if width <= 0 or height <= 0 or width * height > LARGEST_PICTURE:
        return None
    return Picture(width, height, pixels, boxes, frame) if len(pixels) == width * height else None


def _box(data: Mapping[str, Any]) -> Box:
    right = data.get("right")
    return Box(
        x0=float(data["x0"]),
        y0=float(data["y0"]),
        x1=float(data["x1"]),
        y1=float(data["y1"]),
        label=str(data.get("label") or "")[:40],
        right=None if right is None else bool(right),
    )
