"""Text to plain values: JSON or YAML in, dicts, lists and scalars out, with every fault named.

Belongs here: what is wrong with a file as a file (not UTF-8, broken syntax, keys given twice,
numbers that are none, nesting without end). Does not belong here: what the keys mean.
"""

from __future__ import annotations

import json
import math
from typing import Any

from oakctl.model.views import Finding
from oakctl.sla import yaml_tree
from oakctl.sla.bounds import DEEPEST, LARGEST_BYTES, TOO_DEEP, Unreadable
from oakctl.sla.paths import below

MOST_FINDINGS = 200  # of one walk; nobody reads more


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def read(text: str | bytes) -> tuple[Any, list[Finding]]:
    """The tree in `text`, and what is wrong with single places of it; raises Unreadable."""
    source = _decode(text)
    stripped = source.lstrip()
    if not stripped:
        raise Unreadable("the file is empty", "see examples/hello.yaml for a descriptor")
    tree = _from_json(source) if stripped[0] in "{[" else yaml_tree.load(source)
    findings: list[Finding] = []
    _inspect(tree, "", 1, findings)
    return tree, findings


def _decode(text: str | bytes) -> str:
    if len(text) > LARGEST_BYTES:
        raise Unreadable(f"the file has more than {LARGEST_BYTES // 1024 // 1024} MiB")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unreadable(
                f"the file is not UTF-8: byte {error.start} is 0x{text[error.start]:02x}",
                "save it as UTF-8",
            ) from error
    return text.removeprefix("\ufeff")


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found.repeated = tuple(sorted({key for key in keys if keys.count(key) > 1}))
    return found


def _from_json(source: str) -> Any:
    try:
        return json.loads(source, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise Unreadable(TOO_DEEP) from error
    except ValueError as error:  # an integer of thousands of digits
        raise Unreadable(f"not JSON: {error}") from error


def _inspect(value: Any, path: str, depth: int, findings: list[Finding]) -> None:
    """Collect what no descriptor may hold at any place."""
    if len(findings) >= MOST_FINDINGS:
        return
    if depth > DEEPEST:
        findings.append(Finding(path, TOO_DEEP))
    elif isinstance(value, dict):
        repeated = getattr(value, "repeated", ())
        findings.extend(Finding(below(path, key), "is given twice") for key in repeated)
        for key, child in value.items():
            if not _is_text(key):
                findings.append(Finding(path, f"{key!a} is not a key: it is not valid text"))
            else:
                _inspect(child, below(path, key), depth + 1, findings)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _inspect(child, below(path, index), depth + 1, findings)
    elif isinstance(value, float) and not math.isfinite(value):
        findings.append(Finding(path, f"{value} is not a number"))
    elif isinstance(value, str) and not _is_text(value):
        findings.append(Finding(path, f"{value[:40]!a} holds characters that are not valid text"))


def _is_text(value: Any) -> bool:
    """Whether `value` can be stored and passed to a process: no lone surrogates, no NUL."""
    return (
        isinstance(value, str)
        and "\x00" not in value
        and not any("\ud800" <= character <= "\udfff" for character in value)
    )
