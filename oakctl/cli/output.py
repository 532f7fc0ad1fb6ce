"""Standard output: data, and nothing but data.

Belongs here: the forms of `-o`. Does not belong here: progress, questions and errors
(`diagnostics`); which columns a noun has (its own file).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from oakctl.tui.viewmodels.words import clean

T = TypeVar("T")

LONGEST_CELL = 120  # characters in a table; json and yaml have the whole text


class Format(str, Enum):
    """How a list is written."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table; `text` gets the row and the time now (seconds since the epoch)."""

    title: str
    text: Callable[[T, float], str]
    wide: bool = False  # only with `-o wide`


def listing(
    rows: Iterable[T],
    form: Format,
    columns: Sequence[Column[T]],
    name: Callable[[T], str],
) -> None:
    """Write a list. JSON and YAML are a list of whole objects, names are one a line."""
    items = list(rows)
    if form in (Format.JSON, Format.YAML):
        document([_plain(item) for item in items], form)
    elif form is Format.NAME:
        for item in items:
            line(name(item))
    else:
        shown = [column for column in columns if form is Format.WIDE or not column.wide]
        table(items, shown)


def table(items: Sequence[T], columns: Sequence[Column[T]]) -> None:
    """Write aligned columns with a head; nothing at all for no rows."""
    if not items:
        return
    now = time.time()
    body = [[clean(column.text(item, now), LONGEST_CELL) for column in columns] for item in items]
    head = [column.title.upper() for column in columns]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(columns))]
    for row in [head, *body]:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        line("   ".join(cells).rstrip())


def record(item: Any, form: Format, fields: Sequence[tuple[str, str]], name: str) -> None:
    """Write one thing: its fields for people, or the whole object."""
    if form in (Format.JSON, Format.YAML):
        document(_plain(item), form)
    elif form is Format.NAME:
        line(name)
    else:
        width = max((len(title) for title, _ in fields), default=0) + 1
        for title, text in fields:
            line(f"{title + ':':<{width}} {clean(text)}".rstrip())


def document(data: Any, form: Format) -> None:
    """Write plain data as JSON, or as YAML."""
    if form is Format.YAML:
        import yaml

        # By way of JSON: the same values in both, and no enumerations, which YAML refuses.
        plain = json.loads(json.dumps(data))
        text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    else:
        line(json.dumps(data, indent=2, ensure_ascii=False))


def json_line(item: Any) -> None:
    """Write one object as one line of JSON, for streams."""
    line(json.dumps(_plain(item), ensure_ascii=False, separators=(",", ":")))


def log_text(chunk: str) -> None:
    """Write an instance's output: as it is into a pipe, without control bytes on a terminal."""
    if sys.stdout.isatty():
        pieces = chunk.split("\n")
        chunk = "\n".join(clean(piece, len(piece)) for piece in pieces)
    text(chunk)


def is_terminal() -> bool:
    """Whether what is written is seen at once by somebody."""
    return sys.stdout is not None and sys.stdout.isatty()


def clear() -> None:
    """Begin anew at the top of an empty screen."""
    text("\x1b[H\x1b[2J")


def line(content: str) -> None:
    """Write one line."""
    print(content, flush=True)


def text(content: str) -> None:
    """Write text that brings its own line ends."""
    print(content, end="", flush=True)


def _plain(item: Any) -> Any:
    from oakctl.model import wire

    return wire.to_plain(item)
