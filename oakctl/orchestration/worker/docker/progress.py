"""How far a pull is, from the lines that Docker sends during it. Pure.

Belongs here: one number out of many layers. A layer counts 0.7 for its bytes and 0.3 for its
unpacking; layers become known one after the other, so the number is kept from falling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOADED = 0.7
DONE = frozenset({"Pull complete", "Already exists"})
LOADING = "Loading layer"  # what is loaded from an archive is here already
WAITING = frozenset({"Pulling fs layer", "Waiting", "Verifying Checksum", "Download complete"})


class PullProgress:
    """Takes the lines of one pull."""

    def __init__(self, layers: int = 0) -> None:
        self._expected = layers  # as far as that is known before
        self._layers: dict[str, float] = {}
        self.share = 0.0  # 0 to 1, never falls

    def take(self, line: Mapping[str, Any]) -> float:
        """Take note of a line; returns the share."""
        layer, status = str(line.get("id", "")), str(line.get("status", ""))
        if layer:
            share = _share(status, line.get("progressDetail") or {})
            if share is not None:
                self._layers[layer] = max(share, self._layers.get(layer, 0.0))
        count = max(self._expected, len(self._layers))
        if count:
            self.share = max(self.share, sum(self._layers.values()) / count)
        return self.share


def _share(status: str, detail: Mapping[str, Any]) -> float | None:
    if status in DONE:
        return 1.0
    if status in WAITING:
        return 0.0 if status in ("Pulling fs layer", "Waiting") else LOADED
    total = detail.get("total") or 0
    part = min(1.0, (detail.get("current") or 0) / total) if total else 0.0
    if status == "Downloading":
        return LOADED * part
    if status == LOADING:
        return part
    if status == "Extracting":
        return LOADED + (1.0 - LOADED) * part
    return None
