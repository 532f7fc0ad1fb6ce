"""What came back, against what was shown: latency, frames per second, labels that are right.

The only place that has the truth about frames. Does not belong here: frames on their way.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

import numpy as np

from ar.meters import WINDOW_S, percentile
from ar.scene import Frame, Shot
from ar.wire import BOXES, LABELLED, Box, Message, unpack_boxes

KEPT_S = 3.0  # a frame without an answer for so long is lost
SAME_PLACE = 0.5  # least overlap of a box with the thing it is about
VIEW_WIDTH = 160  # pixels, at most


@dataclass
class _Sent:
    """A frame that was sent, and what came back for it."""

    at: float
    truth: tuple[Box, ...]
    thumbnail: Frame
    kind: int = 0  # LABELLED, BOXES; 0: nothing yet


@dataclass
class _Outcome:
    """One answered frame of the last seconds."""

    at: float
    latency_ms: float
    right: int
    looked_for: int


class Checker:
    """Fed by the sending and the receiving thread, asked by the web server's."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.sent_total = self.frames_total = self.unlabelled_total = 0
        self.last_answer = monotonic()
        self._step = -(-width // VIEW_WIDTH)
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._outcomes: OrderedDict[int, _Outcome] = OrderedDict()
        self._view: bytes = json.dumps(
            {"width": 0, "height": 0, "pixels": "", "boxes": [], "frame": 0}
        ).encode()
        self._shown: tuple[int, _Sent, list[tuple[Box, bool]]] | None = None
        self._lock = threading.Lock()

    def sent(self, frame: int, shot: Shot) -> None:
        """`frame` goes out now."""
        thumbnail = np.ascontiguousarray(shot.pixels[:: self._step, :: self._step])
        with self._lock:
            now = monotonic()
            self.sent_total += 1
            self._sent[frame] = _Sent(now, shot.truth, thumbnail)
            while next(iter(self._sent.values())).at < now - KEPT_S:
                self._sent.popitem(last=False)

    def answered(self, message: Message) -> None:
        """A result came; raises Malformed. A later one for the same frame may add labels."""
        header = message.header
        if header.kind not in (LABELLED, BOXES) or not header.width or not header.height:
            return
        boxes, _ = unpack_boxes(message.payload)
        factors = self.width / header.width, self.height / header.height
        boxes = [box.scaled(*factors) for box in boxes]
        with self._lock:
            sent = self._sent.get(header.frame)
            if sent is None or sent.kind in (header.kind, LABELLED):
                return
            self._count(header.frame, header.kind, sent, _judge(boxes, sent.truth))

    def _count(self, frame: int, kind: int, sent: _Sent, judged: list[tuple[Box, bool]]) -> None:
        now = monotonic()
        self.last_answer = now
        first = sent.kind == 0
        self.frames_total += first
        self.unlabelled_total += first and kind == BOXES
        sent.kind = kind
        # A box too many is as wrong as one too few.
        looked_for = max(len(sent.truth), len(judged))
        right = sum(is_right for _, is_right in judged)
        latency_ms = (now - sent.at) * 1000
        if not first and frame in self._outcomes:
            latency_ms = self._outcomes[frame].latency_ms
        self._outcomes[frame] = _Outcome(now, latency_ms, right, looked_for)
        self._forget(now)
        if self._shown is None or frame >= self._shown[0]:
            self._shown = (frame, sent, judged)

    def _forget(self, now: float) -> None:
        while self._outcomes and next(iter(self._outcomes.values())).at < now - WINDOW_S:
            self._outcomes.popitem(last=False)

    def metrics(self) -> dict[str, float]:
        """Counts of all time, the rest over the last seconds."""
        with self._lock:
            now = monotonic()
            self._forget(now)
            outcomes = list(self._outcomes.values())
            latencies = [outcome.latency_ms for outcome in outcomes]
            looked_for = sum(outcome.looked_for for outcome in outcomes)
            right = sum(outcome.right for outcome in outcomes)
            return {
                "ar_sent_total": self.sent_total,
                "ar_frames_total": self.frames_total,
                "ar_unlabelled_total": self.unlabelled_total,
                "ar_fps": self._fps(outcomes),
                "ar_latency_p50_ms": percentile(latencies, 0.5),
                "ar_latency_p95_ms": percentile(latencies, 0.95),
                "ar_labels_right_ratio": right / looked_for if looked_for else 0.0,
            }

    def _fps(self, outcomes: list[_Outcome]) -> float:
        """Results per second: of the time since the window's first one, while it fills."""
        if len(outcomes) < 2:
            return 0.0
        now = monotonic()
        full = now - outcomes[0].at
        return len(outcomes) / max(full, 0.5)

    def view(self) -> bytes:
        """The newest answered frame as JSON: a small picture and its boxes."""
        with self._lock:
            if self._shown is None:
                return self._view
            frame, sent, judged = self._shown
        step = self._step
        return json.dumps(
            {
                "width": sent.thumbnail.shape[1],
                "height": sent.thumbnail.shape[0],
                "pixels": base64.b64encode(sent.thumbnail.tobytes()).decode(),
                "boxes": [
                    {
                        "x0": box.x0 / step,
                        "y0": box.y0 / step,
                        "x1": box.x1 / step,
                        "y1": box.y1 / step,
                        "label": box.label,
                        "right": is_right,
                    }
                    for box, is_right in judged
                ],
                "frame": frame,
            }
        ).encode()


def _judge(boxes: list[Box], truth: tuple[Box, ...]) -> list[tuple[Box, bool]]:
    """Each box, and whether it names the thing that is there; each thing counts once."""
    left = list(truth)
    judged = []
    for box in boxes:
        match = max(left, key=box.overlap, default=None)
        found = match is not None and box.overlap(match) >= SAME_PLACE
        is_right = found and match is not None and match.label == box.label
        if is_right and match is not None:
            left.remove(match)
        judged.append((box, is_right))
    return judged
