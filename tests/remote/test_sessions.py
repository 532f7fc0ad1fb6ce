"""How many at once: as many as the host grants."""

from __future__ import annotations

import secrets
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oakctl.remote import sessions
from oakctl.remote.sessions import NoneFree, Sessions


def one_of(host: str, most: int, threads: int) -> int:
    """Many want a session of a host that grants `most`; how many there were at a time."""
    shared = Sessions(host)
    open_now, highest, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal open_now, highest
        while True:
            shared.take(20)
            with lock:
                granted = open_now < most
                open_now += granted
                highest = max(highest, open_now)
                if granted:
                    shared.opened()
            if granted:
                break
            shared.was_refused()
        with lock:
            open_now -= 1
        shared.ended()

    all_of_them = [threading.Thread(target=work) for _ in range(threads)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join(30)
        assert not thread.is_alive()
    return highest


@given(most=st.integers(1, 10), threads=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_all_get_their_turn_and_the_limit_is_kept(most: int, threads: int) -> None:
    host = secrets.token_hex(8)
    assert one_of(host, most, threads) <= min(most, sessions.MOST)
    assert 1 <= sessions.granted(host) <= sessions.MOST


def test_what_was_refused_is_remembered_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RETRY_S", 0.0)
    host = secrets.token_hex(8)
    first = Sessions(host)
    for _ in range(2):
        first.take(1)
        first.opened()
    first.take(1)
    first.was_refused()
    assert sessions.granted(host) == 2
    second = Sessions(host)  # another connection, later
    second.take(0)
    second.take(0)
    with pytest.raises(NoneFree):
        second.take(0)
    second.lost()
    second.take(0)
    assert sessions.granted(secrets.token_hex(8)) == sessions.MOST
