"""Pre: scales frames down and hands them to Obj."""

from __future__ import annotations

import threading
from dataclasses import replace

from ar.scaling import factor_for, scale_down
from ar.settings import OBJ_PORT, PRE_PORT, Settings
from ar.stage import Stage, pixels_of
from ar.wire import FRAME, Message


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    following = settings.next_stage("Obj", OBJ_PORT)
    stage = Stage(settings, PRE_PORT, FRAME)

    def work(message: Message) -> None:
        frame = pixels_of(message)
        small = scale_down(frame, factor_for(frame.shape[1]))
        header = replace(message.header, width=small.shape[1], height=small.shape[0])
        stage.outbox.send(Message(header, small.tobytes()), following)

    stage.run(stop, work)
