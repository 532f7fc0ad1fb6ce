"""How both ends of a session count: nothing lost, doubled or queued without bound is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model import sessions
from oakctl.model.service import Port, ServiceSpec
from oakctl.model.sessions import (
    PIECE,
    STDERR,
    STDOUT,
    Broken,
    Closed,
    Data,
    Ended,
    Event,
    Flow,
    Resized,
)

EVENTS = st.one_of(
    st.builds(Data, st.sampled_from([STDOUT, STDERR]), st.binary(max_size=100)),
    st.builds(Closed, st.just(STDOUT)),
    st.builds(Resized, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    st.builds(Ended, st.integers(0, 255), st.text(max_size=50), st.text(max_size=50)),
)


@given(EVENTS)
def test_an_event_is_the_same_behind_a_socket(event: Event) -> None:
    assert sessions.decode_event(sessions.encode_event(event)) == event


@given(st.binary(max_size=40))
def test_what_cannot_be_read_breaks_and_nothing_else(body: bytes) -> None:
    try:
        sessions.decode_event(body)
        Flow().take(body)
    except Broken:
        return


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=60), st.data())
def test_every_byte_arrives_in_order_within_the_window(
    pieces: list[bytes], data: st.DataObject
) -> None:
    window = 128
    here, there = Flow(window), Flow(window)
    sent, arrived, unread = b"", b"", 0
    for piece in pieces:
        if len(piece) > here.room:
            credit = there.consume(unread) or there.alive()
            unread = 0
            assert here.take(credit) is None
        assert len(piece) <= here.room
        event = there.take(here.frame(Data(STDOUT, piece)))
        assert isinstance(event, Data)
        sent, arrived, unread = sent + piece, arrived + event.data, unread + len(piece)
        if data.draw(st.booleans()):
            there.take(here.alive())
            here.take(there.alive())
    assert arrived == sent


def test_a_gap_a_repetition_and_a_lost_last_frame_are_noticed() -> None:
    here = Flow()
    frames = [here.frame(Data(STDOUT, b"x")) for _ in range(3)]
    gap, twice, last = Flow(), Flow(), Flow()
    gap.take(frames[0])
    with pytest.raises(Broken, match="lost"):
        gap.take(frames[2])
    twice.take(frames[0])
    with pytest.raises(Broken, match="lost"):
        twice.take(frames[0])
    last.take(frames[0])
    last.take(frames[1])
    with pytest.raises(Broken, match="lost"):
        last.take(here.alive())


def test_more_than_the_window_is_neither_sent_nor_taken() -> None:
    here, there = Flow(2 * PIECE), Flow(PIECE)
    with pytest.raises(ValueError, match="more data"):
        here.frame(Data(STDOUT, b"x" * (PIECE + 1)))
    there.take(here.frame(Data(STDOUT, b"x" * PIECE)))
    with pytest.raises(Broken, match="more than it may"):
        there.take(here.frame(Data(STDOUT, b"x")))
    assert here.room == PIECE - 1
    with pytest.raises(Broken, match="consumed more"):
        Flow().take(there.alive()[:9] + (7).to_bytes(8, "big"))


def test_a_reset_says_why() -> None:
    frame = sessions.reset("the agent left")
    assert sessions.ends(frame)
    with pytest.raises(Broken, match="the agent left"):
        Flow().take(frame)


def test_only_ports_of_the_descriptor_are_forwarded() -> None:
    service = ServiceSpec("a.b.c.d", "a.b", "process", "x", ports=(Port(80, 8080),),
                          listen=(Port(53, protocol="udp"),))  # fmt: skip
    assert sessions.not_forwarded(service, 80) == ""
    assert "UDP" in sessions.not_forwarded(service, 53)
    assert "80/tcp, 53/udp" in sessions.not_forwarded(service, 22)
