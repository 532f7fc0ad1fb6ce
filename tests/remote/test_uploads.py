"""Large uploads take turns."""

from __future__ import annotations

import threading

import pytest

from oakctl.remote import uploads
from oakctl.remote.step import Cancelled

WAIT_S = 20.0


def test_no_more_than_some_at_a_time_and_small_ones_pass() -> None:
    most, now, lock = 0, 0, threading.Lock()
    all_in = threading.Barrier(uploads.AT_ONCE)

    def send() -> None:
        nonlocal most, now
        with uploads.turn(uploads.LARGE, threading.Event(), "h: put f"):
            with lock:
                now += 1
                most = max(most, now)
            all_in.wait(WAIT_S)
            with lock:
                now -= 1

    senders = [threading.Thread(target=send) for _ in range(3 * uploads.AT_ONCE)]
    for sender in senders:
        sender.start()
    with uploads.turn(uploads.LARGE - 1, threading.Event(), "h: put small"):
        pass
    for sender in senders:
        sender.join(WAIT_S)
        assert not sender.is_alive()
    assert most == uploads.AT_ONCE


def test_one_that_waits_ends_when_its_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_turns", threading.BoundedSemaphore(1))
    monkeypatch.setattr(uploads, "LOOK_EVERY_S", 0.01)
    closed = threading.Event()
    closed.set()
    with (
        uploads.turn(uploads.LARGE, threading.Event(), "a: put f"),
        pytest.raises(Cancelled, match="b: put f: stopped"),
        uploads.turn(uploads.LARGE, closed, "b: put f"),
    ):
        pass
    with uploads.turn(uploads.LARGE, threading.Event(), "c: put f"):
        pass  # the turn came back
