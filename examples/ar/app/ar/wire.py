"""Messages between the stages: what is in them, and how they travel in UDP datagrams.

A message has a header (id and time of its frame, size, where results go) and a payload; nothing
in a header says what a frame shows. It is cut into chunks that fit a datagram; each chunk
carries the whole header, so that they may arrive in any order, twice, or not at all.
Does not belong here: sockets.
"""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

FRAME = 1  # payload: pixels
TASK = 2  # payload: boxes, then pixels
LABELLED = 3  # payload: boxes with labels
BOXES = 4  # payload: boxes with empty labels: Rec was away
DONE = 5  # no payload: this task was answered

MAGIC = b"OAR1"
LARGEST_MESSAGE = 32 * 1024 * 1024  # bytes
SMALLEST_CHUNK = 256  # bytes of a datagram, header included

# magic, kind, frame, sent at, width, height, client, acknowledge to, chunk, chunks, offset, total
_HEADER = struct.Struct("!4sBQdHH4sH4sHHHII")
_BOX = struct.Struct("!4H")
_COUNT = struct.Struct("!H")

Address = tuple[str, int]
NOWHERE: Address = ("0.0.0.0", 0)


class Malformed(ValueError):
    """Bytes that are no message of ours."""


@dataclass(frozen=True)
class Header:
    """What travels with every chunk of a message."""

    kind: int
    frame: int  # grows with each frame of a client
    sent_at: float  # seconds since the epoch by the client's clock
    width: int  # of the pixels that this message is about
    height: int
    client: Address  # where results go
    acknowledge: Address = NOWHERE  # where Rec says that it is done


@dataclass(frozen=True)
class Message:
    """A header and its payload."""

    header: Header
    payload: bytes | bytearray | memoryview = b""


@dataclass(frozen=True)
class Box:
    """Pixels x0 ≤ x < x1, y0 ≤ y < y1, and what is in there; "" when nobody said."""

    x0: int
    y0: int
    x1: int
    y1: int
    label: str = ""

    def scaled(self, factor_x: float, factor_y: float) -> Box:
        """The same box in a picture of another size."""
        return Box(
            round(self.x0 * factor_x),
            round(self.y0 * factor_y),
            round(self.x1 * factor_x),
            round(self.y1 * factor_y),
            self.label,
        )

    def overlap(self, other: Box) -> float:
        """Shared area over joined area (intersection over union), 0 to 1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(0, width) * max(0, height)
        joined = self.area + other.area - shared
        return shared / joined if joined else 0.0

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def chunks(message: Message, chunk_bytes: int) -> Iterator[bytes]:
    """The datagrams of a message, none longer than `chunk_bytes`."""
    room = max(chunk_bytes, SMALLEST_CHUNK) - _HEADER.size
    payload = memoryview(message.payload)
    total = len(payload)
    count = max(1, -(-total // room))
    if total > LARGEST_MESSAGE or count > 0xFFFF:
        raise ValueError(f"{total} bytes are too many for datagrams of {chunk_bytes}")
    header = message.header
    for index in range(count):
        offset = index * room
        yield (
            _HEADER.pack(
                MAGIC,
                header.kind,
                header.frame,
                header.sent_at,
                header.width,
                header.height,
                *_packed(header.client),
                *_packed(header.acknowledge),
                index,
                count,
                offset,
                total,
            )
            + payload[offset : offset + room]
        )


def _packed(address: Address) -> tuple[bytes, int]:
    return socket.inet_aton(address[0]), address[1]


@dataclass
class _Partial:
    """A message of which chunks are missing."""

    header: Header
    payload: bytearray
    missing: set[int]


class Reassembly:
    """Chunks in, whole messages out. The oldest unfinished message goes when there are too many."""

    def __init__(self, unfinished: int = 8) -> None:
        self.unfinished = unfinished
        self.lost = 0  # messages given up because chunks of them never came
        self.malformed = 0  # datagrams that were not ours
        self._partials: OrderedDict[tuple[object, ...], _Partial] = OrderedDict()
        # Chunks that arrive twice must not begin a message anew that was handed out already.
        self._finished: deque[tuple[object, ...]] = deque(maxlen=64)

    def add(self, datagram: bytes | memoryview) -> Message | None:
        """The message that this datagram completes, if it does."""
        try:
            header, index, count, offset, total, body = _read(datagram)
        except (Malformed, struct.error):
            self.malformed += 1
            return None
        key = (header, count, total)
        if key in self._finished:
            return None
        partial = self._partials.get(key)
        if partial is None:
            partial = _Partial(header, bytearray(total), set(range(count)))
            self._partials[key] = partial
            while len(self._partials) > self.unfinished:
                self._partials.popitem(last=False)
                self.lost += 1
        partial.payload[offset : offset + len(body)] = body
        partial.missing.discard(index)
        if partial.missing:
            return None
        del self._partials[key]
        self._finished.append(key)
        return Message(header, partial.payload)


def _read(
    datagram: bytes | memoryview,
) -> tuple[Header, int, int, int, int, memoryview]:
    if len(datagram) < _HEADER.size:
        raise Malformed("too short")
    (magic, kind, frame, sent_at, width, height, client, client_port, ack, ack_port, *place) = (
        _HEADER.unpack_from(datagram)
    )
    index, count, offset, total = place
    body = memoryview(datagram)[_HEADER.size :]
    if magic != MAGIC or not FRAME <= kind <= DONE or index >= count:
        raise Malformed("not a chunk")
    if total > LARGEST_MESSAGE or offset + len(body) > total:
        raise Malformed("outside of its message")
    header = Header(
        kind,
        frame,
        sent_at,
        width,
        height,
        (socket.inet_ntoa(client), client_port),
        (socket.inet_ntoa(ack), ack_port),
    )
    return header, index, count, offset, total, body


def pack_boxes(boxes: list[Box]) -> bytes:
    """Boxes and their labels as bytes."""
    parts = [_COUNT.pack(len(boxes))]
    for box in boxes:
        label = box.label.encode()[:255]
        parts.append(_BOX.pack(box.x0, box.y0, box.x1, box.y1))
        parts.append(bytes([len(label)]) + label)
    return b"".join(parts)


def unpack_boxes(payload: bytes | bytearray | memoryview) -> tuple[list[Box], memoryview]:
    """What `pack_boxes` made, and what follows it; raises Malformed."""
    view = memoryview(payload)
    boxes = []
    try:
        (count,) = _COUNT.unpack_from(view)
        at = _COUNT.size
        for _ in range(count):
            x0, y0, x1, y1 = _BOX.unpack_from(view, at)
            at += _BOX.size
            length = view[at]
            label = bytes(view[at + 1 : at + 1 + length]).decode()
            at += 1 + length
            boxes.append(Box(x0, y0, x1, y1, label))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"not boxes: {error}") from error
    if at > len(view):
        raise Malformed("not boxes: cut off")
    return boxes, view[at:]
