"""What Pre, Obj and Rec have in common: a queue, its worker, and the numbers about both.

Does not belong here: what a stage does with a frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from ar.meters import Window, prometheus
from ar.net import Inbox, Outbox
from ar.queueing import DropOldest
from ar.scene import Frame
from ar.settings import METRICS_PORT, Settings
from ar.web import WebServer
from ar.wire import Malformed, Message

TURN_S = 0.05  # longest wait for a message, so that deadlines are looked at


class Stage:
    """Messages of one kind in, worked on one after the other.

    `aside` is called, by the receiving thread, for messages of any other kind.
    """

    def __init__(
        self,
        settings: Settings,
        port: int,
        kind: int,
        aside: Callable[[Message], None] = lambda message: None,
    ) -> None:
        self.settings, self.kind, self.port = settings, kind, port
        self.outbox = Outbox(settings.bind, settings.chunk_bytes)
        self._aside = aside
        self._queue: DropOldest[Message] = DropOldest()
        self._received = self._sent = self._malformed = 0
        self._delays, self._times = Window(), Window()
        self._inbox = Inbox((settings.bind, port), self._deliver)
        self._web = WebServer(
            (settings.bind, METRICS_PORT), {"/metrics": ("text/plain; version=0.0.4", self.metrics)}
        )

    def _deliver(self, message: Message) -> None:
        if message.header.kind != self.kind:
            self._aside(message)
            return
        self._received += 1
        self._queue.put(message)

    def run(
        self,
        stop: threading.Event,
        work: Callable[[Message], None],
        each_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Do `work` for each message until `stop` is set; then free everything."""
        try:
            while not stop.is_set():
                taken = self._queue.take(TURN_S)
                if taken is not None:
                    self._work(*taken, work)
                each_turn()
        finally:
            self._inbox.stop()
            self._web.stop()
            self.outbox.close()

    def _work(self, message: Message, waited_s: float, work: Callable[[Message], None]) -> None:
        self._delays.add(waited_s * 1000)
        began = time.monotonic()
        try:
            if self.settings.service_s:
                time.sleep(self.settings.service_s)
            work(message)
            self._sent += 1
        except Malformed:
            self._malformed += 1
        self._times.add((time.monotonic() - began) * 1000)

    def metrics(self) -> bytes:
        """The numbers of this stage as Prometheus text."""
        reassembly = self._inbox.reassembly
        lost = reassembly.lost + self._queue.dropped + self._malformed + self.outbox.failed
        return prometheus(
            {
                "ar_in_total": self._received,
                "ar_out_total": self._sent,
                "ar_dropped_total": lost,
                "ar_queue_delay_ms": self._delays.mean(),
                "ar_service_time_ms": self._times.mean(),
            }
        )


def pixels_of(message: Message, payload: bytes | bytearray | memoryview | None = None) -> Frame:
    """The pixels of a message; raises Malformed when they are not of the size it says."""
    header = message.header
    found = np.frombuffer(message.payload if payload is None else payload, np.uint8)
    if not found.size or found.size != header.width * header.height:
        raise Malformed(f"{found.size} pixels are not {header.width}x{header.height}")
    return found.reshape(header.height, header.width)
