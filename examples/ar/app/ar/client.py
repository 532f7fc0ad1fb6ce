"""Client: shows frames to the pipeline and checks what comes back."""

from __future__ import annotations

import logging
import threading
import time
from time import monotonic

from ar.checker import Checker
from ar.meters import prometheus
from ar.net import Inbox, Outbox
from ar.scene import DrawnScene, PictureFolder, Shot
from ar.settings import CLIENT_PORT, METRICS_PORT, PRE_PORT, Settings
from ar.web import WebServer
from ar.wire import FRAME, Address, Header, Malformed, Message

log = logging.getLogger("ar.client")

SILENCE_S = 1.0  # without a result for so long, frames are sent as a new flow


def run(settings: Settings, stop: threading.Event) -> None:
    """Send frames and serve what is known of them until `stop` is set."""
    following = settings.next_stage("Pre", PRE_PORT)
    here = (settings.reached_at(following), CLIENT_PORT)
    source = _source(settings)
    checker = Checker(source.width, source.height)
    outbox = Outbox(settings.bind, settings.chunk_bytes)
    inbox = Inbox((settings.bind, CLIENT_PORT), lambda message: _answered(checker, message))
    web = WebServer(
        (settings.bind, METRICS_PORT),
        {
            "/metrics": ("text/plain; version=0.0.4", lambda: prometheus(checker.metrics())),
            "/view": ("application/json", checker.view),
        },
    )
    # Ids of an earlier life of this instance must not be taken for ours.
    frame = int(time.time() * 1000)
    due = reopened = monotonic()
    try:
        for shot in source.shots():
            if stop.wait(max(0.0, due - monotonic())):
                break
            # After a pause no burst of frames makes up for it.
            due = max(due + 1 / settings.fps, monotonic() - 1 / settings.fps)
            frame += 1
            checker.sent(frame, shot)
            outbox.send(_message(frame, shot, here), following)
            if monotonic() - max(checker.last_answer, reopened) > SILENCE_S:
                reopened = monotonic()
                outbox.reopen()
    finally:
        inbox.stop()
        web.stop()
        outbox.close()


def _source(settings: Settings) -> DrawnScene | PictureFolder:
    if settings.pictures is not None:
        return PictureFolder(settings.pictures)
    return DrawnScene(settings.width, settings.height, settings.seed + settings.number)


def _message(frame: int, shot: Shot, client: Address) -> Message:
    height, width = shot.pixels.shape
    return Message(Header(FRAME, frame, time.time(), width, height, client), shot.pixels.tobytes())


def _answered(checker: Checker, message: Message) -> None:
    try:
        checker.answered(message)
    except Malformed as error:
        log.warning("a result is not understood: %s", error)
