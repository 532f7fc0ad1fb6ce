"""Faults of shape: what the schema says of a tree, as findings with path, value and rule.

Belongs here: the wording of pydantic's errors. Does not belong here: rules of our own.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from oakctl.model.views import Finding
from oakctl.sla.paths import join, shown
from oakctl.sla.schema import Descriptor

_TYPES = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_LIMITS = {
    "greater_than_equal": ("≥", "ge"),
    "less_than_equal": ("≤", "le"),
    "greater_than": (">", "gt"),
    "less_than": ("<", "lt"),
}


def validate(tree: Any) -> tuple[Descriptor | None, list[Finding]]:
    """The descriptor, or every fault of shape in `tree`."""
    try:
        return Descriptor.model_validate(tree), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [finding(detail) for detail in details]


def finding(detail: Any) -> Finding:
    """One of pydantic's errors in our words: path, value, rule."""
    path = join(detail["loc"])
    kind = detail["type"]
    if kind == "missing":
        return Finding(path, "is missing")
    message = f"{shown(detail['input'])} {_rule(kind, detail)}"
    return Finding(path, message, hint=_hint(path, detail["input"]))


def _rule(kind: str, detail: Any) -> str:
    context = detail.get("ctx", {})
    if kind in _TYPES:
        return f"is not {_TYPES[kind]}"
    if kind in _LIMITS:
        sign, key = _LIMITS[kind]
        return f"is not {sign} {context[key]:.15g}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"is not {context['expected'].replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"does not match {context['pattern']}"
    return str(detail["msg"])


def _hint(path: str, value: Any) -> str:
    if path.endswith("].vcpus") and isinstance(value, float):
        return "fractions of a core go into oakctl.vcpus"
    if path.endswith("].port") and isinstance(value, int) and not isinstance(value, bool):
        return f'write "{value}"'
    return ""
