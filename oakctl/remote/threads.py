"""What blocks in the network, in threads that keep no process from leaving.

Belongs here: daemon threads with a result. The pools of `concurrent.futures` are joined when the
interpreter ends: a process that was told to leave would wait for the deadlines of SSH. Does not
belong here: what is done in them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T], name: str) -> Future[T]:
    """Run `work` in a thread of its own, called `name`."""
    (future,) = side_by_side([work], 1, name)
    return future


def side_by_side(
    works: Sequence[Callable[[], T]], at_once: int, name: str
) -> tuple[Future[T], ...]:
    """Run `works`, in their order and not more than `at_once` at a time, in threads called `name`.

    One whose future is cancelled before its turn is left out.
    """
    waiting = deque((Future[T](), work) for work in works)
    futures = tuple(future for future, _ in waiting)

    def run() -> None:
        while True:
            try:
                future, work = waiting.popleft()
            except IndexError:
                return
            _carry_out(future, work)

    for _ in range(min(at_once, len(works))):
        threading.Thread(target=run, name=name, daemon=True).start()
    return futures


def _carry_out(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    # Whatever it is, it is raised again where the result is asked for.
    except BaseException as error:  # noqa: BLE001
        future.set_exception(error)
    else:
        future.set_result(result)
