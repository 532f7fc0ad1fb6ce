"""Sessions: a stream of bytes both ways between a client and an instance's worker.

Belongs here: what is asked for when one is opened, what travels in it, and how either end counts
(`Flow`, pure). Does not belong here: carrying frames (`orchestration.sessions`, the cluster's
relay), or what a session is for (the worker's `sessions`).

A frame on the bus is one byte (its kind), eight bytes (a number) and a body. Frames that carry
something are numbered from 1, so that a lost or a doubled one is noticed; each side may have
`WINDOW` bytes under way that the other has not consumed yet, so nothing is queued without bound
and the bus never finds a slow consumer. Both sides speak every `ALIVE_EVERY_S` seconds.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum

from oakctl.model.service import ServiceSpec

EXEC = "exec"
COPY_IN = "copy-in"  # a tar stream towards the instance
COPY_OUT = "copy-out"
FORWARD = "forward"  # a TCP connection to a port of the instance
KINDS = (EXEC, COPY_IN, COPY_OUT, FORWARD)

STDIN, STDOUT, STDERR = 0, 1, 2

# A slow uplink carries heartbeats too: this much may be before one of them.
WINDOW = 256 * 1024  # bytes under way in each direction
PIECE = 32 * 1024  # bytes of data in a frame, at most
LARGEST_FRAME = PIECE + 64
LONGEST_WORDS = 2000  # of an error, in characters
ALIVE_EVERY_S = 5.0
SILENCE_S = 20.0  # without any frame the other side is taken for dead

_HEAD = struct.Struct(">BQ")
_NUMBER = struct.Struct(">Q")
_SIZE = struct.Struct(">HH")


@dataclass(frozen=True)
class SessionRequest:
    """What a session is to be."""

    instance: str
    kind: str
    command: tuple[str, ...] = ()  # exec
    tty: bool = False
    stdin: bool = False  # whether there is input; without it the command gets none
    rows: int = 0  # of the terminal, 0: not known
    columns: int = 0
    term: str = ""  # its kind, like "xterm-256color"
    path: str = ""  # copy
    port: int = 0  # forward


@dataclass(frozen=True)
class SessionOpen:
    """Root → cluster → worker. `session` is a secret of those who take part."""

    session: str
    request: SessionRequest
    connection: int = 0  # the root's on the bus: when that ends, so does the session


@dataclass(frozen=True)
class SessionAnswer:
    """Opened, or why not."""

    ok: bool
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Data:
    """Bytes; `channel` is STDIN, STDOUT or STDERR."""

    channel: int
    data: bytes


@dataclass(frozen=True)
class Closed:
    """No more bytes come on this channel; the other direction goes on."""

    channel: int


@dataclass(frozen=True)
class Resized:
    """The terminal has another size."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Ended:
    """The last of a session: an exit code, or also what went wrong."""

    code: int = 0
    error: str = ""
    hint: str = ""


Event = Data | Closed | Resized | Ended


class Broken(Exception):
    """A session that cannot go on; the text says why, for people."""


class Kind(IntEnum):
    """What a frame is. The first four are numbered and carry an `Event`."""

    DATA = 1
    CLOSED = 2
    RESIZED = 3
    ENDED = 4
    CREDIT = 5  # number: bytes consumed so far
    ALIVE = 6  # number: numbered frames sent so far; body: bytes consumed so far
    RESET = 7  # body: why the session is over


_NUMBERED = (Kind.DATA, Kind.CLOSED, Kind.RESIZED, Kind.ENDED)


def encode_event(event: Event) -> bytes:
    """An event as one byte for its kind and its body; so it travels on a socket."""
    if isinstance(event, Data):
        return bytes((Kind.DATA, event.channel)) + event.data
    if isinstance(event, Closed):
        return bytes((Kind.CLOSED, event.channel))
    if isinstance(event, Resized):
        return bytes((Kind.RESIZED,)) + _SIZE.pack(_small(event.rows), _small(event.columns))
    words = {"code": event.code, "error": event.error[:LONGEST_WORDS], "hint": event.hint[:200]}
    return bytes((Kind.ENDED,)) + json.dumps(words).encode()


def decode_event(body: bytes) -> Event:
    """The event in what `encode_event` gave; raises Broken."""
    try:
        kind = Kind(body[0])
        if kind is Kind.DATA:
            return Data(_channel(body[1]), body[2:])
        if kind is Kind.CLOSED:
            return Closed(_channel(body[1]))
        if kind is Kind.RESIZED:
            return Resized(*_SIZE.unpack(body[1:]))
        if kind is Kind.ENDED:
            found = json.loads(body[1:])
            return Ended(int(found["code"]), str(found["error"]), str(found["hint"]))
    except (ValueError, LookupError, TypeError, struct.error) as error:
        raise Broken(f"a frame that cannot be read ({type(error).__name__})") from error
    raise Broken("a frame that carries nothing")


def reset(words: str) -> bytes:
    """The frame that ends a session at once."""
    return _HEAD.pack(Kind.RESET, 0) + words[:LONGEST_WORDS].encode()


def ends(frame: bytes) -> bool:
    """Whether nothing comes after this frame."""
    return frame[:1] in (bytes((Kind.ENDED,)), bytes((Kind.RESET,)))


def not_forwarded(service: ServiceSpec, port: int) -> str:
    """Why no connection leads to this port of a service; empty: one does. Only what its descriptor
    names is reached: other ports of its address may be other people's."""
    found = [one.protocol for one in service.all_ports() if one.container == port]
    if "tcp" in found:
        return ""
    if found:
        return f"port {port} is UDP, which is not forwarded"
    known = ", ".join(f"{one.container}/{one.protocol}" for one in service.all_ports()) or "none"
    return f"the descriptor names no port {port}; it names {known}"


class Flow:
    """One end of a session, in numbers. Pure: gives frames to send, takes frames that came."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._sent = 0  # numbered frames
        self._sent_bytes = 0
        self._consumed_there = 0
        self._received = 0
        self._received_bytes = 0
        self._consumed = 0
        self._told = 0  # of what we consumed

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return self._consumed_there + self._window - self._sent_bytes

    def frame(self, event: Event) -> bytes:
        """The next frame; data has to fit into `room` and `PIECE`."""
        if isinstance(event, Data):
            if len(event.data) > min(self.room, PIECE):
                raise ValueError("more data than may be sent")
            self._sent_bytes += len(event.data)
        self._sent += 1
        body = encode_event(event)
        return _HEAD.pack(body[0], self._sent) + body[1:]

    def take(self, frame: bytes) -> Event | None:
        """What a frame carries, None for one that only counts; raises Broken."""
        try:
            number_kind, number = _HEAD.unpack_from(frame)
            kind = Kind(number_kind)
        except (struct.error, ValueError) as error:
            raise Broken("a frame that cannot be read") from error
        body = frame[_HEAD.size :]
        if kind is Kind.RESET:
            raise Broken(body.decode(errors="replace")[:LONGEST_WORDS] or "the other side gave up")
        if kind is Kind.CREDIT:
            self._credit(number)
            return None
        if kind is Kind.ALIVE:
            self._alive(number, body)
            return None
        return self._numbered(kind, number, body)

    def consume(self, size: int) -> bytes | None:
        """Take note that `size` received bytes are used up; a frame when that is worth telling."""
        self._consumed += size
        if self._consumed - self._told < self._window // 4:
            return None
        self._told = self._consumed
        return _HEAD.pack(Kind.CREDIT, self._consumed)

    def alive(self) -> bytes:
        """The frame that says that we are there, and what should have come by now."""
        self._told = self._consumed
        return _HEAD.pack(Kind.ALIVE, self._sent) + _NUMBER.pack(self._consumed)

    def _numbered(self, kind: Kind, number: int, body: bytes) -> Event:
        if number != self._received + 1:
            raise Broken("something was lost on the way")
        if len(body) > LARGEST_FRAME and kind is Kind.DATA:
            raise Broken("the other side sends more at once than it may")
        self._received = number
        event = decode_event(bytes((kind,)) + body)
        if isinstance(event, Data):
            self._received_bytes += len(event.data)
            if self._received_bytes - self._consumed > self._window:
                raise Broken("the other side sends more than it may")
        return event

    def _credit(self, consumed: int) -> None:
        if consumed > self._sent_bytes:
            raise Broken("the other side consumed more than it was sent")
        self._consumed_there = max(self._consumed_there, consumed)

    def _alive(self, sent: int, body: bytes) -> None:
        if sent > self._received:
            raise Broken("something was lost on the way")
        try:
            self._credit(_NUMBER.unpack(body)[0])
        except struct.error as error:
            raise Broken("a frame that cannot be read") from error


def _small(number: int) -> int:
    return max(0, min(number, 0xFFFF))


def _channel(number: int) -> int:
    if number not in (STDIN, STDOUT, STDERR):
        raise ValueError(f"channel {number}")
    return number
