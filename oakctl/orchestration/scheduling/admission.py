"""What a root may do in a cluster that is not its own: rules against a service. Pure.

Belongs here: the comparison, and the rules' file as text. Every refusal names the rule. Does not
belong here: who asks and what runs already (`cluster.admission`), and what a worker's own operator
gives to containers (`scheduling.grants`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from oakctl.model.resources import Resources
from oakctl.model.roots import EVERYBODY, OWNER, RootRules, is_name
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.scheduling import wording

PREFIX = "admission: "
PUSHED = "pushed:"  # before the name of an image whose layers the root itself has sent
ARTIFACT = "artifact:"  # before the sha256 of a program
ALL = "all of them"

_LISTS = ("namespaces", "images", "runtimes")
_SHARES = ("cpu_share", "memory_share")
_AMOUNTS = ("vcpus", "memory_mb")
_FLAGS = ("privileged", "grants")
_RULE_ENDS = ("/", ":", "@")  # what may follow a pattern without wildcards


@dataclass(frozen=True)
class Bounded:
    """A resource that rules may bound: its field, and the rules that do."""

    field: str
    share: str


BOUNDED = (Bounded("vcpus", "cpu_share"), Bounded("memory_mb", "memory_share"))


class BadRules(ValueError):
    """The file of rules can't be gone by; the text says where and why."""


def read(text: str) -> dict[str, RootRules]:
    """Root → its rules, from the text of a rules file; raises BadRules.

    The file is JSON with lines of comment, which begin with #:
    `{"roots": {"rob": {"namespaces": ["prod-*"], "cpu_share": 0.5}}}`.
    """
    lines = ["" if line.lstrip().startswith("#") else line for line in text.splitlines()]
    body = "\n".join(lines)
    if not body.strip():
        return {}
    try:
        found = json.loads(body, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadRules(f"line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise BadRules("it is nested too deeply") from error
    if not isinstance(found, dict) or not isinstance(found.get("roots", {}), dict):
        raise BadRules('it has to be {"roots": {NAME: {RULE: VALUE, ...}, ...}}')
    _only(found, ("roots",), "the file")
    return {name: _rules(name, given) for name, given in found.get("roots", {}).items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRules(f"{key!r} is there twice")
        found[key] = value
    return found


def _rules(name: str, given: object) -> RootRules:
    if not (is_name(name) or name in (OWNER, EVERYBODY)):
        raise BadRules(f"{name!r} is no name of a root")
    if not isinstance(given, dict):
        raise BadRules(f"{name}: rules are an object")
    _only(given, tuple(field.name for field in fields(RootRules)), name)
    return RootRules(**{rule: _value(name, rule, value) for rule, value in given.items()})


def _only(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise BadRules(f"{where}: {key!r} is no rule; there are {', '.join(known)}")


def _value(name: str, rule: str, value: object) -> Any:
    where = f"{name}: {rule}"
    if rule in _LISTS:
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise BadRules(f"{where} is a list of texts")
        return tuple(value)
    if rule in _FLAGS:
        if not isinstance(value, bool):
            raise BadRules(f"{where} is true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise BadRules(f"{where} is a number, 0 or more")
    if rule in _SHARES and value > 1:
        raise BadRules(f"{where} is a part of the cluster, 1 at most")
    return int(value) if rule == "memory_mb" else float(value)


def objections(who: str, rules: RootRules, spec: ServiceSpec) -> tuple[str, ...]:
    """What of the service itself is not allowed to `who`, in words; empty: all of it is."""
    found: list[str] = []
    for what, value, allowed in (
        ("namespace", namespace_of(spec), rules.namespaces),
        ("image", image_of(spec), rules.images),
        ("runtime", spec.virtualization, rules.runtimes),
    ):
        if allowed is not None and not any(_matches(what, value, entry) for entry in allowed):
            of_all = ", ".join(allowed) or "none"
            found.append(f"{what} {value!r} is not among {who}'s: {of_all}")
    if spec.privileged and rules.privileged is False:
        found.append(f"privileged containers are not allowed to {who} (privileged)")
    if rules.grants is False:
        asked = [f"capability {name}" for name in spec.capabilities]
        asked += [f"device {path}" for path in spec.devices]
        asked += [f"path {volume.source}" for volume in spec.volumes if volume.of_host]
        if asked:
            found.append(f"{', '.join(asked)}: not allowed to {who} (grants)")
    for bound in BOUNDED:
        if is_bound(rules, bound) and getattr(spec.requests, bound.field) <= 0:
            unit = wording.UNITS[bound.field]
            named = _named(rules, bound)
            found.append(f"a service without a limit of {unit} is not allowed to {who} ({named})")
    return tuple(PREFIX + text for text in found)


def excess(
    who: str, rules: RootRules, wanted: Resources, in_use: Resources, capacity: Resources
) -> tuple[str, ...]:
    """What of `wanted` would be beyond the root's share, in words; empty: nothing.

    `in_use` is what it has besides, running or reserved; `capacity` what the cluster's workers
    have in all.
    """
    found: list[str] = []
    for bound in BOUNDED:
        limit = limit_of(rules, bound, capacity)
        asked, used = getattr(wanted, bound.field), getattr(in_use, bound.field)
        # Fractions of cores are added often; a rounding error is no excess.
        if limit is None or asked <= 0 or used + asked <= limit + 1e-6:
            continue
        unit = wording.UNITS[bound.field]
        found.append(
            f"{PREFIX}asks for {wording.amount(asked)} {unit} and {who} has "
            f"{wording.amount(used)} of {wording.amount(limit)} in use ({_named(rules, bound)})"
        )
    return tuple(found)


def limit_of(rules: RootRules, bound: Bounded, capacity: Resources) -> float | None:
    """How much a root may have of a resource; None: no rule bounds it."""
    limits: list[float] = []
    share = getattr(rules, bound.share)
    if share is not None:
        limits.append(share * getattr(capacity, bound.field))
    amount = getattr(rules, bound.field)
    if amount is not None:
        limits.append(amount)
    return min(limits) if limits else None


def is_bound(rules: RootRules, bound: Bounded) -> bool:
    """Whether a rule bounds the resource."""
    return getattr(rules, bound.share) is not None or getattr(rules, bound.field) is not None


def namespace_of(spec: ServiceSpec) -> str:
    """The namespace of the service's application."""
    return spec.job_name.split(".")[1]


def image_of(spec: ServiceSpec) -> str:
    """What is run, as rules name it: "docker.io/library/a:1", "pushed:a:1", "artifact:<sha256>".

    A pushed image may have any name, whatever registry that speaks of, so it is told apart.
    """
    if spec.virtualization == "process":
        return f"{ARTIFACT}{spec.code}"
    if spec.images:
        return f"{PUSHED}{spec.code}"
    name = full_name(spec.code)
    return f"registry {name}" if _brought(name) else name  # a host may be called "pushed"


def full_name(reference: str) -> str:
    """A reference with its registry: "a:1" is "docker.io/library/a:1"."""
    first, slash, rest = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    if first == "index.docker.io":
        first = "docker.io"
    elif not ("." in first or ":" in first or first == "localhost"):
        return f"docker.io/{reference}"
    return (
        f"docker.io/library/{rest}"
        if first == "docker.io" and "/" not in rest
        else (f"{first}/{rest}")
    )


def in_words(rules: RootRules) -> str:
    """The rules on one line; "everything" when there is none."""
    found = []
    for field in fields(RootRules):
        value = getattr(rules, field.name)
        if value is None:
            continue
        if field.name in _LISTS:
            found.append(f"{field.name} {', '.join(value) or 'none'}")
        elif field.name in _FLAGS:
            found.append(f"{'' if value else 'no '}{field.name}")
        else:
            found.append(f"{field.name} {wording.amount(value)}")
    return "; ".join(found) or "everything"


def _matches(what: str, value: str, pattern: str) -> bool:
    if fnmatchcase(value, pattern):
        # "*" speaks of registries; what a root brings itself has to be named.
        return what != "image" or not _brought(value) or pattern.startswith((PUSHED, ARTIFACT))
    plain = not any(sign in pattern for sign in "*?[")
    return (
        what == "image"
        and plain
        and value.startswith(tuple(pattern.rstrip("/") + end for end in _RULE_ENDS))
    )


def _brought(value: str) -> bool:
    return value.startswith((PUSHED, ARTIFACT))


def _named(rules: RootRules, bound: Bounded) -> str:
    names = [name for name in (bound.share, bound.field) if getattr(rules, name) is not None]
    return ", ".join(f"{name} {wording.amount(getattr(rules, name))}" for name in names)
