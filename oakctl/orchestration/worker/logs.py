"""An instance's log: bounded on disk, read by offsets that count from its very first byte.

Belongs here: rotation and reading. The instance appends to `log` by itself, so rotation copies
and truncates; what is written between the two is lost, microseconds of it. Does not belong
here: who asks (`log_service`).

    log                  what the instance appends to
    rotated.<offset>     the piece before it; the number is the offset of its first byte
    rotating             that a rotation is under way: the file's name, and the sizes before
"""

from __future__ import annotations

import codecs
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from oakctl.orchestration.worker import storage

LARGEST = 4 * 1024 * 1024  # bytes, of each of the two pieces
LONGEST_ANSWER = 128 * 1024  # bytes: as JSON, with everything escaped, below 1 MiB


@dataclass(frozen=True)
class Piece:
    """Text of a log; `next_offset` is where the next piece begins."""

    text: str
    next_offset: int


class InstanceLog:
    """The log in `directory`."""

    def __init__(self, directory: Path, largest: int = LARGEST) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._largest = largest
        self.path = directory / "log"
        self._intent = directory / "rotating"
        self._repair()

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self._base() + self._size()

    def rotate(self) -> bool:
        """Move what there is aside when it has become too large; raises OSError."""
        size = self._size()
        if size < self._largest:
            return False
        base = self._base()
        start = base + max(0, size - self._largest)
        rotated = self._directory / f"rotated.{start}"
        copy = self._directory / "rotated.new"
        intent = {"rotated": rotated.name, "size": size}
        storage.replace_file(self._intent, json.dumps(intent).encode())
        with self.path.open("rb") as source, copy.open("wb") as target:
            source.seek(start - base)
            shutil.copyfileobj(source, target)
            copy.replace(rotated)
            os.truncate(self.path, 0)
        self._intent.unlink()
        self._remove_others(rotated.name)
        return True

    def read(self, offset: int, limit: int, *, final: bool = False) -> Piece:
        """Text from `offset` (negative: from that many bytes before the end), `limit` bytes.

        What lies before the kept part, or behind the end, is read from the oldest kept byte. A
        character that is not complete yet is left for the next piece unless `final`.
        """
        rotated, base = self._rotated(), self._base()
        oldest = rotated[1] if rotated else base
        end = base + self._size()
        if offset < 0:
            offset = max(oldest, end + offset)
        elif not oldest <= offset <= end:
            offset = oldest
        limit = max(4, min(limit, LONGEST_ANSWER))
        if rotated is not None and offset < base:
            data = _bytes(rotated[0], offset - rotated[1], limit)
        else:
            data = _bytes(self.path, offset - base, limit)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final)
        held = len(decoder.getstate()[0])
        return Piece(text, offset + len(data) - held)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotated(self) -> tuple[Path, int] | None:
        found = [
            (path, int(path.name.partition(".")[2]))
            for path in self._directory.glob("rotated.*")
            if path.name.partition(".")[2].isdigit()
        ]
        return max(found, key=lambda item: item[1], default=None)

    def _base(self) -> int:
        rotated = self._rotated()
        return rotated[1] + rotated[0].stat().st_size if rotated else 0

    def _remove_others(self, keep: str) -> None:
        for path in self._directory.glob("rotated.*"):
            if path.name != keep:
                path.unlink()

    def _repair(self) -> None:
        """Undo a rotation that the agent did not live to end: its piece is still in `log`."""
        try:
            intent = json.loads(self._intent.read_text())
            if self._size() >= int(intent["size"]):
                (self._directory / str(intent["rotated"])).unlink(missing_ok=True)
        except (FileNotFoundError, ValueError, KeyError):
            return
        finally:
            self._intent.unlink(missing_ok=True)


def _bytes(path: Path, position: int, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(position)
            return stream.read(limit)
    except FileNotFoundError:
        return b""
