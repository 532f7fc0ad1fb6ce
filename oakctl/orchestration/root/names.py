"""Names as people type them: short where that is unambiguous.

Belongs here: finding the one thing a name means. Does not belong here: which names may be given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from oakctl.errors import NotFound, UsageError

FORM = re.compile(r"[a-z0-9-]{1,30}")


def check(name: str, what: str) -> str:
    """`name`, when a host, cluster or worker may be called so; raises UsageError."""
    if not FORM.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a {what}",
            hint="use 1 to 30 of a-z, 0-9 and -",
        )
    return name


def application(name: str, known: Iterable[str]) -> str:
    """The application `name` or `name.<namespace>`; raises NotFound or UsageError."""
    return _one(name, known, lambda full: {full, full.split(".")[0]}, "application", "app")


def service(name: str, known: Iterable[str]) -> str:
    """The job name that `Rec`, `Rec.<ns>`, `app.appns.Rec` or the whole of it means."""
    return _one(name, known, _forms, "service", "service")


def instance(name: str, known: Iterable[str]) -> str:
    """The instance `Rec.instance.0` or the whole name."""

    def forms(full: str) -> set[str]:
        job, _, number = full.rpartition(".instance.")
        return {f"{form}.instance.{number}" for form in _forms(job)}

    return _one(name, known, forms, "instance", "instance")


def _forms(job: str) -> set[str]:
    application, namespace, name, own = job.split(".")
    return {job, name, f"{name}.{own}", f"{application}.{namespace}.{name}"}


def _one(
    name: str, known: Iterable[str], forms: Callable[[str], set[str]], what: str, noun: str
) -> str:
    found = sorted(full for full in known if name in forms(full))
    if name in found:
        return name
    if not found:
        raise NotFound(f"there is no {what} {name!r}", hint=f"oakctl {noun} ls")
    if len(found) > 1:
        raise UsageError(
            f"{name!r} may be any of {len(found)} {what}s",
            hint="use a full name",
            details=(*found,),
        )
    return found[0]
