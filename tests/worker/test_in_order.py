"""One after the other, in a thread of its own."""

from __future__ import annotations

import threading

import pytest

from oakctl.orchestration.worker.in_order import InOrder


def test_all_is_done_in_order_and_of_those_that_replace_each_other_the_newest() -> None:
    line, held, done = InOrder("test"), threading.Event(), list[str]()
    line.do(lambda: held.wait(60))
    line.do(lambda: done.append("a1"), "a")
    line.do(lambda: done.append("b"))
    line.do(lambda: done.append("a2"), "a")
    last = line.do(lambda: done.append("c"))
    held.set()
    last.result(60)
    assert done == ["a2", "b", "c"]
    line.do(lambda: done.append("a3"), "a").result(60)
    assert done[-1] == "a3"


def test_what_fails_is_told_and_not_the_end_of_the_rest() -> None:
    line = InOrder("test")

    def fail() -> None:
        raise OSError("no")

    failed = line.do(fail)
    assert line.do(lambda: threading.current_thread().name).result(60) == "test"
    with pytest.raises(OSError, match="no"):
        failed.result(60)
