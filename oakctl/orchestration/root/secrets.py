"""Named secrets: files of mode 0600 below the state directory, and never in SQLite.

secrets/<name>.json   one secret, with its value (`model.secrets.SecretValue`)

Belongs here: keeping them, which services are given which, what a change is refused for. Does not
belong here: bringing them to clusters (`root.secret_delivery`). Nothing here logs or returns a
value, but `value`, which delivery alone calls.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlite_utils import Database

from oakctl import paths
from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.model import secrets, wire
from oakctl.model.requests import SecretSet
from oakctl.model.secrets import SecretUse, SecretValue
from oakctl.model.service import ServiceSpec
from oakctl.model.views import SecretView
from oakctl.orchestration.root.credentials import write_private
from oakctl.orchestration.root.store import events, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.sla import Application

SUFFIX = ".json"


class Secrets:
    """The secrets of one root. Their files are few and small, and are read when they are needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, SecretValue] | None = None  # without values

    async def all(self) -> Sequence[SecretView]:
        """Every one by name, with the services that are given it."""
        return await self._store.run(lambda db: [self._view(db, s) for s in self.known().values()])

    async def put(self, name: str, asked: SecretSet) -> SecretView:
        """Give a secret its value, new or instead of another; durable when this returns.

        Raises UsageError for what cannot be one, Conflict where another secret is the login of
        that registry, or a service is given the secret in a way that the value does not allow.
        """
        given = _checked(name, asked)
        known = self.known()
        for other in known.values():
            if given.registry and other.registry == given.registry and other.name != name:
                raise Conflict(
                    f"secret {other.name} is the login for {given.registry}",
                    hint=f"oakctl secret set {other.name} --registry {given.registry} …",
                )
        before = known.get(name)
        version = max(given.version, before.version + 1 if before else 0)
        stored = SecretValue(name, version, given.value, given.kind, given.registry, given.username)

        def note(db: Database) -> SecretView:
            for spec in _specs(db):
                for use in (use for use in spec.secrets if use.name == name):
                    _require_fits(spec, use, stored)
            write_private(_file(name), wire.encode(stored).decode())
            # Always whole, and never none: others look at it from another thread.
            self._known = dict(sorted({**self.known(), name: _without_value(stored)}.items()))
            events.append(db, time.time(), "secret.changed", name, "has a new value")
            return self._view(db, self.known()[name])

        return await self._store.run(note)

    async def remove(self, name: str, *, force: bool = False) -> SecretView:
        """Forget it. Raises NotFound; Conflict while a service is given it, unless `force`."""

        def note(db: Database) -> SecretView:
            known = self.known().get(name)
            if known is None:
                raise NotFound(f"there is no secret {name!r}", hint="oakctl secret ls")
            view = self._view(db, known)
            if view.services and not force:
                raise Conflict(
                    f"secret {name} is given to {', '.join(view.services)}",
                    hint=f"oakctl app delete NAME ends what uses it, or: "
                    f"oakctl secret rm {name} --force",
                )
            _file(name).unlink(missing_ok=True)
            self._known = {key: one for key, one in self.known().items() if key != name}
            events.append(db, time.time(), "secret.removed", name, "is forgotten")
            return view

        return await self._store.run(note)

    def check(self, applications: Iterable[Application]) -> None:
        """Raises NotFound when a service names a secret that is not there, Conflict when it
        cannot be given in that way."""
        known = self.known()
        for spec in (spec for application in applications for spec in application.services):
            for use in spec.secrets:
                if use.name not in known:
                    raise NotFound(
                        f"service {spec.job_name}: there is no secret {use.name}",
                        hint=f"oakctl secret set {use.name}",
                    )
                _require_fits(spec, use, self.value(use.name) or known[use.name])

    def known(self) -> Mapping[str, SecretValue]:
        """All by name, without their values."""
        if self._known is None:
            found = (_read(file) for file in sorted(paths.secrets_directory().glob(f"*{SUFFIX}")))
            self._known = {s.name: _without_value(s) for s in found if s is not None}
        return self._known

    def value(self, name: str) -> SecretValue | None:
        """One with its value, on its way to a cluster; None when there is none of that name."""
        return _read(_file(name)) if name in self.known() else None

    def needed_by(self, spec: ServiceSpec) -> frozenset[str]:
        """The names of all that instances of a service need: what it names, and logins for its
        images' registries, where there are any."""
        names = {use.name for use in spec.secrets}
        hosts = images_of(spec)
        if hosts:
            names |= {one.name for one in self.known().values() if one.registry in hosts}
        return frozenset(names)

    def _view(self, db: Database, known: SecretValue) -> SecretView:
        using = (spec.job_name for spec in _specs(db) if known.name in self.needed_by(spec))
        return SecretView(
            known.name,
            known.kind,
            known.version / 1000,
            known.registry,
            known.username,
            tuple(sorted(using)),
        )


def images_of(spec: ServiceSpec) -> frozenset[str]:
    """The hosts of the registries that a service's images are pulled from."""
    return frozenset(secrets.registry_of(image) for image in spec.pulled)


def _specs(db: Database) -> Iterable[ServiceSpec]:
    return (row.spec for row in wanted.services(db))


def _file(name: str) -> Path:
    return paths.secrets_directory() / f"{name}{SUFFIX}"


def _read(file: Path) -> SecretValue | None:
    try:
        return wire.decode(file.read_bytes(), SecretValue)
    except FileNotFoundError:
        return None
    except (OSError, wire.Malformed) as error:
        raise OakError(
            f"the secret in {file} cannot be read", hint=f"oakctl secret set {file.stem}"
        ) from error


def _without_value(secret: SecretValue) -> SecretValue:
    return SecretValue(
        secret.name, secret.version, "", secret.kind, secret.registry, secret.username
    )


def _checked(name: str, asked: SecretSet) -> SecretValue:
    """What is asked for, when it can be a secret; raises UsageError."""
    if not secrets.is_name(name):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a secret",
            hint="use letters, digits, . _ and - (63 at most, a letter or digit first)",
        )
    try:
        content = secrets.decoded(asked.value)
    except ValueError as error:
        raise UsageError(f"secret {name}: {error}") from None
    if not content:
        raise UsageError(f"secret {name}: nothing was given as its value")
    if len(content) > secrets.LARGEST:
        raise UsageError(f"secret {name}: {len(content)} bytes; it can have {secrets.LARGEST}")
    if bool(asked.registry) != bool(asked.username):
        raise UsageError(
            f"secret {name}: a login has a registry and a username",
            hint=f"oakctl secret set {name} --registry HOST --username USER",
        )
    host = secrets.registry_host(asked.registry) if asked.registry else ""
    if "/" in host or any(not c.isprintable() or c == " " for c in host + asked.username):
        raise UsageError(
            f"secret {name}: {asked.registry!r} is not the host of a registry",
            hint="such as registry.example.org:5000, without https:// and without a path",
        )
    kind = secrets.REGISTRY if host else secrets.PLAIN
    if host and (problem := secrets.not_a_variable(content)):
        raise UsageError(f"secret {name}: its value {problem}; a password is text")
    version = int(time.time() * 1000)
    return SecretValue(name, version, asked.value, kind, host, asked.username)


def _require_fits(spec: ServiceSpec, use: SecretUse, secret: SecretValue) -> None:
    if secret.kind == secrets.REGISTRY:
        raise Conflict(
            f"service {spec.job_name}: secret {use.name} is the login for {secret.registry}; "
            "the worker uses it, an instance is not given it",
            hint="give the instance a secret of its own: oakctl secret set OTHER",
        )
    if use.kind == secrets.ENV and (problem := secrets.not_a_variable(secret.content)):
        raise Conflict(
            f"service {spec.job_name}: secret {use.name} {problem}: it cannot be the variable "
            f"{use.target}",
            hint="as: file",
        )
