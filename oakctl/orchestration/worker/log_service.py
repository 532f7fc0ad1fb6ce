"""Answers requests for instances' logs; a reader that waits is answered as soon as there is more.

Belongs here: finding the log, waiting, the end of a log. Does not belong here: files (`logs`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from oakctl.model.messages import LogsAnswer, LogsRequest
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.logs import InstanceLog, Piece
from oakctl.orchestration.worker.record import Phase, Record

LOOK_EVERY_S = 0.1
LONGEST_WAIT_S = 30.0  # the bus lets us answer for 60 s


class LogService:
    """`record_of` and `log_of` find an instance by its name; `freshen` gets what is not in its
    file yet, where something else than the instance itself writes that."""

    def __init__(
        self,
        record_of: Callable[[str], Record | None],
        log_of: Callable[[str], InstanceLog],
        freshen: Callable[[Record], Awaitable[None]] | None = None,
    ) -> None:
        self._freshen = freshen
        self._record_of = record_of
        self._log_of = log_of

    async def answer(self, request: LogsRequest) -> LogsAnswer:
        """What there is from `offset`, after `wait_s` seconds at the latest."""
        end = time.monotonic() + min(request.wait_s, LONGEST_WAIT_S)
        offset = request.offset
        while True:
            record = self._record_of(request.instance)
            if record is None:
                return LogsAnswer("", max(0, offset), True, f"{request.instance} is not here")
            if self._freshen is not None:
                await self._freshen(record)
            try:
                over = record.phase is Phase.ENDED
                piece = self._log_of(request.instance).read(offset, request.limit, final=over)
            except OSError as error:
                return LogsAnswer("", max(0, offset), error=storage.in_words(error))
            if piece.text or over or time.monotonic() >= end:
                return _answer(piece, over)
            # From here on "the last N bytes" would move with what comes.
            offset = piece.next_offset
            await asyncio.sleep(LOOK_EVERY_S)


def _answer(piece: Piece, over: bool) -> LogsAnswer:
    return LogsAnswer(piece.text, piece.next_offset, ended=over and not piece.text)
