"""Chunks: any order, twice, some lost; and bytes that are no message."""

from __future__ import annotations

import random
import struct

import pytest
from ar.wire import (
    FRAME,
    TASK,
    Box,
    Header,
    Malformed,
    Message,
    Reassembly,
    chunks,
    pack_boxes,
    unpack_boxes,
)
from hypothesis import given
from hypothesis import strategies as st

HEADERS = st.builds(
    Header,
    kind=st.sampled_from([FRAME, TASK]),
    frame=st.integers(0, 2**64 - 1),
    sent_at=st.floats(0, 2e9),
    width=st.integers(0, 65535),
    height=st.integers(0, 65535),
    client=st.tuples(st.just("127.4.0.9"), st.integers(0, 65535)),
    acknowledge=st.tuples(st.just("10.18.0.3"), st.integers(0, 65535)),
)
MESSAGES = st.builds(Message, HEADERS, st.binary(max_size=3000))
BOXES = st.lists(
    st.builds(Box, *[st.integers(0, 65535)] * 4, st.text(max_size=20).filter(lambda t: t.isascii()))
)


def content(message: Message | None) -> tuple[Header, bytes] | None:
    return (message.header, bytes(message.payload)) if message else None


@given(MESSAGES, st.integers(0, 1500), st.randoms())
def test_any_order_and_duplicates(message: Message, size: int, rng: random.Random) -> None:
    datagrams = list(chunks(message, size))
    assert all(len(datagram) <= max(size, 256) for datagram in datagrams)
    arriving = datagrams * 2
    rng.shuffle(arriving)
    reassembly = Reassembly()
    whole = [found for datagram in arriving if (found := reassembly.add(datagram))]
    assert [content(found) for found in whole] == [content(message)]


@given(st.lists(MESSAGES, max_size=8, unique_by=lambda m: m.header), st.randoms(), st.data())
def test_lost_chunks_lose_their_message_alone(
    messages: list[Message], rng: random.Random, data: st.DataObject
) -> None:
    arriving, expected = [], set()
    for message in messages:
        datagrams = list(chunks(message, 256))
        lost = data.draw(st.booleans())
        if lost:
            datagrams.pop(rng.randrange(len(datagrams)))
        else:
            expected.add(message.header)
        arriving += datagrams
    rng.shuffle(arriving)
    reassembly = Reassembly()
    found = [whole for datagram in arriving if (whole := reassembly.add(datagram))]
    assert {whole.header for whole in found} == expected


def test_unfinished_messages_are_bounded_and_the_oldest_goes() -> None:
    reassembly = Reassembly(unfinished=2)
    started = []
    for number in range(5):
        header = Header(FRAME, number, 0.0, 1, 1, ("127.0.0.1", 1))
        first, *rest = chunks(Message(header, bytes(1000)), 256)
        assert reassembly.add(first) is None
        started.append(rest)
    assert reassembly.lost == 3
    assert all(reassembly.add(datagram) is None for datagram in started[0])
    assert [m for m in map(reassembly.add, started[4]) if m] != []


@given(st.binary(max_size=200))
def test_strange_datagrams_are_counted(datagram: bytes) -> None:
    reassembly = Reassembly()
    assert reassembly.add(datagram) is None
    assert reassembly.malformed == 1


@given(MESSAGES, st.data())
def test_spoiled_datagrams_do_no_harm(message: Message, data: st.DataObject) -> None:
    datagram = bytearray(data.draw(st.sampled_from(list(chunks(message, 256)))))
    datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= data.draw(st.integers(1, 255))
    reassembly = Reassembly()
    reassembly.add(bytes(datagram))


def test_a_message_too_large_for_its_datagrams_is_refused() -> None:
    message = Message(Header(FRAME, 1, 0.0, 1, 1, ("127.0.0.1", 1)), bytes(33 * 1024 * 1024))
    with pytest.raises(ValueError, match="too many"):
        next(chunks(message, 1200))


@given(BOXES, st.binary(max_size=50))
def test_boxes_there_and_back(boxes: list[Box], rest: bytes) -> None:
    found, remaining = unpack_boxes(pack_boxes(boxes) + rest)
    assert (found, bytes(remaining)) == (boxes, rest)


@given(BOXES.filter(bool), st.data())
def test_boxes_that_are_cut_off(boxes: list[Box], data: st.DataObject) -> None:
    packed = pack_boxes(boxes)
    with pytest.raises(Malformed):
        unpack_boxes(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_boxes_with_text_that_is_none() -> None:
    with pytest.raises(Malformed):
        unpack_boxes(struct.pack("!H4HB", 1, 0, 0, 1, 1, 1) + b"\xff")


def test_overlap() -> None:
    box = Box(0, 0, 10, 10)
    assert box.overlap(box) == 1
    assert box.overlap(Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box.overlap(Box(20, 20, 30, 30)) == 0
    assert Box(0, 0, 0, 0).overlap(Box(0, 0, 0, 0)) == 0
