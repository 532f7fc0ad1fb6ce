"""Rec: labels the boxes of each frame, answers the client, and tells Obj that it did."""

from __future__ import annotations

import threading
from dataclasses import replace

from ar.labels import Labeller
from ar.settings import REC_PORT, Settings
from ar.stage import Stage, pixels_of
from ar.wire import DONE, LABELLED, NOWHERE, TASK, Message, pack_boxes, unpack_boxes


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    labeller = Labeller()
    stage = Stage(settings, REC_PORT, TASK)

    def work(message: Message) -> None:
        boxes, rest = unpack_boxes(message.payload)
        labelled = labeller.label(pixels_of(message, rest), boxes)
        header = replace(message.header, kind=LABELLED)
        stage.outbox.send(Message(header, pack_boxes(labelled)), header.client)
        if header.acknowledge != NOWHERE:
            stage.outbox.send(Message(replace(header, kind=DONE)), header.acknowledge)

    stage.run(stop, work)
