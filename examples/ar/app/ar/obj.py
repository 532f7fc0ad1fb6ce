"""Obj: finds boxes, hands frame and boxes to Rec, and answers the client itself when Rec is away.

Rec acknowledges each task that it answered. A task without an acknowledgement in time is
answered from here, with boxes that have no labels; after some of them Rec is only tried now and
then, so that the client does not wait for what will not come.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from time import monotonic

from ar.breaker import Breaker, Tasks
from ar.components import find_boxes
from ar.settings import OBJ_PORT, REC_PORT, Settings
from ar.stage import Stage, pixels_of
from ar.wire import BOXES, DONE, FRAME, TASK, Box, Header, Message, pack_boxes

log = logging.getLogger("ar.obj")


@dataclass(frozen=True)
class _Task:
    header: Header
    boxes: list[Box]
    answered: bool  # the client has the boxes already


class Obj:
    """The stage's state; acknowledgements come by the receiving thread."""

    def __init__(self, settings: Settings) -> None:
        self._following = settings.next_stage("Rec", REC_PORT)
        self._here = (settings.reached_at(self._following), OBJ_PORT)
        self._breaker = Breaker()
        self._tasks: Tasks[_Task] = Tasks()
        self._lock = threading.Lock()
        self.stage = Stage(settings, OBJ_PORT, FRAME, self._acknowledged)

    def work(self, message: Message) -> None:
        """One frame."""
        frame = pixels_of(message)
        boxes = find_boxes(frame)
        header = replace(message.header, kind=TASK, acknowledge=self._here)
        with self._lock:
            now = monotonic()
            degraded, ask = self._breaker.open, self._breaker.allows(now)
            if ask:
                self._tasks.sent(_key(header), _Task(header, boxes, degraded), now)
        if degraded:
            self._answer(header, boxes)
        if ask:
            self.stage.outbox.send(
                Message(header, pack_boxes(boxes) + frame.tobytes()), self._following
            )

    def look_after(self) -> None:
        """Answer for Rec where it did not."""
        with self._lock:
            now = monotonic()
            late = self._tasks.overdue(now)
            was_open = self._breaker.open
            for _ in late:
                self._breaker.failed(now)
            if self._breaker.open and not was_open:
                log.warning("Rec does not answer: boxes go out without labels")
        for task in late:
            if not task.answered:
                self._answer(task.header, task.boxes)

    def _acknowledged(self, message: Message) -> None:
        if message.header.kind != DONE:
            return
        with self._lock:
            if self._tasks.answered(_key(message.header)):
                if self._breaker.open:
                    log.warning("Rec answers again")
                self._breaker.succeeded()

    def _answer(self, header: Header, boxes: list[Box]) -> None:
        answer = Message(replace(header, kind=BOXES), pack_boxes(boxes))
        self.stage.outbox.send(answer, header.client)


def _key(header: Header) -> tuple[object, ...]:
    return header.client, header.frame


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    obj = Obj(settings)
    obj.stage.run(stop, obj.work, obj.look_after)
