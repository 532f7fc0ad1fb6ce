"""What may be slow, done in one thread, one after the other: heartbeats do not wait for it.

Belongs here: the thread and its queue. Does not belong here: what is done (`kernel_overlay`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Work = Callable[[], Any]


class InOrder:
    """A thread called `name`; it keeps no process from leaving."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[str | tuple[Future[Any], Work]] = queue.SimpleQueue()
        self._newest: dict[str, tuple[Future[Any], Work]] = {}  # of those that replace each other
        self._lock = threading.Lock()
        self._started = False

    def do(self, work: Work, replacing: str = "") -> Future[Any]:
        """Have it done after all that was given before.

        Of several with the same name in `replacing` that wait, the newest is done, in the turn of
        the first.
        """
        future: Future[Any] = Future()
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            if not replacing:
                self._queue.put((future, work))
            elif replacing in self._newest:
                future = self._newest[replacing][0]
                self._newest[replacing] = (future, work)
            else:
                self._newest[replacing] = (future, work)
                self._queue.put(replacing)
        return future

    def _run(self) -> None:
        while True:
            given = self._queue.get()
            if isinstance(given, str):
                with self._lock:
                    given = self._newest.pop(given)
            future, work = given
            try:
                result = work()
            # Whatever it is, it is raised again where the result is asked for.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
            else:
                future.set_result(result)
