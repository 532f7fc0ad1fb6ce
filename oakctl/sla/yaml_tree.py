"""YAML to plain values, by the core schema of YAML 1.2 and within bounds.

Belongs here: composing, resolving scalars, unfolding aliases within a limit. PyYAML's own
constructor is not used: it reads `8080:22` as a number in base 60 and `no` as false, keeps the
last of two equal keys, and unfolds aliases without a bound. Does not belong here: meaning.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from oakctl.sla.bounds import DEEPEST, MOST_NODES, TOO_DEEP, Unreadable

_INTEGER = re.compile(r"[-+]?[0-9]{1,400}|0x[0-9a-fA-F]{1,300}|0o[0-7]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
# Tags that PyYAML gives plain scalars by itself; what they mean is decided here instead.
_IMPLICIT = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class Mapping(dict[str, Any]):
    """A mapping that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def load(source: str) -> Any:
    """The one document in `source`; raises Unreadable."""
    try:
        root = yaml.compose(source, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise Unreadable(_syntax(error)) from error
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise Unreadable(TOO_DEEP) from error
    return _Builder().value(root, 1)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"not YAML: {place}{error.problem or error.context}"


class _Builder:
    """Plain values of a composed document; counts what it has made."""

    def __init__(self) -> None:
        self.made = 0

    def value(self, node: yaml.Node | None, depth: int) -> Any:
        if node is None:
            return None
        self.made += 1
        if self.made > MOST_NODES:
            raise Unreadable(f"more than {MOST_NODES} values, its aliases unfolded")
        # An alias that holds itself is endless too.
        if depth > DEEPEST:
            raise Unreadable(TOO_DEEP)
        if node.tag not in _IMPLICIT | _COLLECTIONS:
            raise Unreadable(f"{_place(node)}: the tag {node.tag} is not understood")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        assert isinstance(node, yaml.ScalarNode)
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Mapping:
        own = Mapping()
        merged: dict[str, Any] = {}
        repeated = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise Unreadable(f"{_place(key_node)}: a key has to be a word")
            key = str(key_node.value)
            value = self.value(value_node, depth + 1)
            if key == "<<" and not key_node.style:
                for source in reversed(value if isinstance(value, list) else [value]):
                    if not isinstance(source, dict):
                        raise Unreadable(f"{_place(key_node)}: << has to name a mapping")
                    merged.update(source)
            elif key in own:
                repeated.append(key)
            else:
                own[key] = value
        for key, value in merged.items():
            own.setdefault(key, value)
        own.repeated = tuple(dict.fromkeys(repeated))
        return own


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.style or (node.tag.endswith(":str") and not _looks_typed(text)):
        return text
    lowered = text.lower()
    if lowered in _WORDS:
        return _WORDS[lowered]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(lowered.replace(".", ""))
    return text


def _looks_typed(text: str) -> bool:
    """Numbers that YAML 1.1 takes for strings: `0o17`, `1e3`."""
    return bool(_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text))
