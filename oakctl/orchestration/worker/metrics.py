"""Metrics of instances: Prometheus text, reduced to names and values.

Belongs here: reading the text, and asking for it. Does not belong here: what a metric means.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from oakctl.orchestration.worker import http
from oakctl.orchestration.worker.record import Record

TIMEOUT_S = 1.5
MOST_METRICS = 64  # of one instance


def parse(text: str) -> dict[str, float]:
    """Metric name → value of the samples without labels; what is no finite number is left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith("#") or "{" in words[0]:
            continue
        try:
            value = float(words[1])
        except ValueError:
            continue
        if math.isfinite(value) and len(found) < MOST_METRICS:
            found[words[0][:200]] = value
    return found


async def scrape(
    running: Mapping[str, Record], address: Callable[[Record], str]
) -> dict[str, dict[str, float]]:
    """The metrics of every instance that serves some and answers at its `address`."""
    names = [name for name, known in running.items() if known.desired.service.metrics]
    texts = await asyncio.gather(*(_text(running[name], address(running[name])) for name in names))
    return {name: parse(text) for name, text in zip(names, texts, strict=True) if text}


async def _text(known: Record, address: str) -> str:
    endpoint = known.desired.service.metrics
    assert endpoint is not None
    try:
        status, body = await http.get(address, endpoint.port, endpoint.path, TIMEOUT_S)
    except (OSError, asyncio.TimeoutError, http.BadAnswer):
        return ""
    return body.decode(errors="replace") if status == 200 else ""
