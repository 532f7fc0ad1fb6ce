"""Messages of netlink as bytes: headers and attributes. Pure.

Does not belong here: sending them (`netlink`), what is in one (`flows`, `asked`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # of a message: length, type, flags, sequence, port
FAMILY = struct.pack("=BBH", 2, 0, 0)  # nfgenmsg: IPv4
BODY = HEADER.size + len(FAMILY)  # where the attributes of a message begin
LEADING = struct.Struct("=HH")  # of an attribute: length, type
_TYPE = 0x3FFF  # without the bits "nested" and "network byte order"


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A message to netfilter with these attributes."""
    return HEADER.pack(BODY + len(body), kind, flags, 1, 0) + FAMILY + body


def within(message: bytes, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """(type, (where its value starts, where it ends)) of each attribute; raises ValueError."""
    while start + LEADING.size <= end:
        length, kind = LEADING.unpack_from(message, start)
        if not LEADING.size <= length <= end - start:
            raise ValueError("an attribute that does not fit its message")
        yield kind & _TYPE, (start + LEADING.size, start + length)
        start += (length + 3) & ~3


def one(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return padded(LEADING.pack(LEADING.size + len(value), kind) + value)


def padded(value: bytes) -> bytes:
    """To the next boundary of four bytes."""
    return value + bytes(-len(value) % 4)
