"""Keys that nobody reads: each a warning that says where it belongs or what was meant.

Belongs here: walking a tree along the schema. Does not belong here: values.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from oakctl.model.views import Finding
from oakctl.sla import schema
from oakctl.sla.paths import below

_LEVELS: tuple[tuple[type[BaseModel], str], ...] = (
    (schema.Descriptor, "the top of the file"),
    (schema.ApplicationSection, "an application"),
    (schema.Microservice, "a microservice"),
    (schema.Extension, "the key `oakctl` of a microservice"),
    (schema.Addresses, "`addresses` of a microservice"),
    (schema.ConstraintSection, "an entry of `constraints`"),
    (schema.ConnectivitySection, "an entry of `connectivity`"),
    (schema.AutoscaleSection, "`oakctl.autoscale`"),
    (schema.FurtherAddresses, "`oakctl.addresses`"),
)


def unknown(tree: Any) -> list[Finding]:
    """A warning for each key of `tree` that is not a field of the schema."""
    return list(_walk(tree, schema.Descriptor, ""))


def _walk(value: Any, model: type[BaseModel], path: str) -> Iterator[Finding]:
    if not isinstance(value, dict):
        return
    known = _keys(model)
    for key, child in value.items():
        place = below(path, str(key))
        if key not in known:
            yield Finding(place, "is not a known key", "warning", _suggestion(str(key), model))
            continue
        section = known[key]
        if section is None:
            continue
        if isinstance(child, list):
            for index, element in enumerate(child):
                yield from _walk(element, section, below(place, index))
        else:
            yield from _walk(child, section, place)


@cache
def _keys(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The keys of a section, with the section below each (None: a plain value)."""
    return {
        field.alias or name: _section(field.annotation)
        for name, field in model.model_fields.items()
    }


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, types.UnionType, typing.Annotated, typing.Union):
        for argument in typing.get_args(annotation):
            found = _section(argument)
            if found is not None:
                return found
    return None


def _suggestion(key: str, model: type[BaseModel]) -> str:
    elsewhere = [where for level, where in _LEVELS if key in _keys(level) and level is not model]
    if elsewhere:
        return f"`{key}` belongs to {elsewhere[0]}"
    close = closest(key, _keys(model))
    if close:
        return f"did you mean `{close}`?"
    for level, where in _LEVELS:
        close = closest(key, _keys(level))
        if close:
            return f"did you mean `{close}` of {where}?"
    return ""


def closest(word: str, words: typing.Iterable[str]) -> str:
    """The one of `words` that `word` most likely was meant to be, or ""."""
    plain = {_plain(known): known for known in words}
    # One letter of a short word weighs more.
    cutoff = 0.65 if len(word) <= 4 else 0.75
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else ""


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
