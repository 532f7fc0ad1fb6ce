"""JSON of the model's dataclasses, on the bus and in files.

Unknown fields are ignored and absent ones take their defaults, so that this version and the
one before understand each other. Does not belong here: any rule about what the values mean.
"""

from __future__ import annotations

from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

T = TypeVar("T")

_converter = make_converter()


class Malformed(ValueError):
    """A message that is not what its subject carries; the text names the type and the cause."""


def encode(message: Any) -> bytes:
    """Compact JSON of a dataclass, UTF-8."""
    return _converter.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def decode(body: bytes | str, kind: type[T]) -> T:
    """The dataclass `kind` from its JSON; raises Malformed."""
    try:
        return _converter.loads(body, kind)
    # cattrs raises groups of whatever its hooks raise; all of them mean the same here.
    except Exception as error:
        raise Malformed(f"not a {kind.__name__}: {_first_line(error)}") from error


def to_plain(message: Any) -> Any:
    """Dicts, lists, strings and numbers of a dataclass."""
    return _converter.unstructure(message)


def from_plain(data: Any, kind: type[T]) -> T:
    """The dataclass `kind` from what `to_plain` gave; raises Malformed."""
    try:
        return _converter.structure(data, kind)
    except Exception as error:
        raise Malformed(f"not a {kind.__name__}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
