"""A descriptor's text, checked as a whole: every fault and every warning at once.

Belongs here: the order of the checks and what they are joined to. Does not belong here: a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from oakctl.errors import OakError
from oakctl.model.views import Finding
from oakctl.sla import enforcement, faults, fields, keys, old_shape, rules, section_rules
from oakctl.sla.bounds import Unreadable
from oakctl.sla.paths import below, shown
from oakctl.sla.reading import read
from oakctl.sla.schema import Descriptor, Microservice


@dataclass(frozen=True)
class Checked:
    """What a text was found to be. `descriptor` is None when there is any fault."""

    findings: tuple[Finding, ...]
    descriptor: Descriptor | None = None
    external: tuple[str, ...] = ()  # full job names of other applications' services it talks to

    @property
    def ok(self) -> bool:
        """Whether it is accepted; warnings do not count."""
        return self.descriptor is not None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What it is refused for."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What it is accepted with."""
        return tuple(finding for finding in self.findings if finding.severity != "error")

    def artifact_references(self) -> tuple[str, ...]:
        """`code` of process services and files for containers, as written, where they have to be
        packed and uploaded.

        `sha256:HEX` names what is uploaded already and is not among them.
        """
        code = (
            one
            for s in self._services()
            if s.virtualization == "process"
            for one in (s.oakctl.code.values() if s.oakctl.code else (s.code,))
        )
        return _to_upload((*code, *self.file_references()))

    def file_references(self) -> tuple[str, ...]:
        """Those that are plain files, for containers, and no programs."""
        return _to_upload(
            fields.added_files(entry)[0]
            for service in self._services()
            if service.virtualization in enforcement.CONTAINERS
            for entry in service.added_files
            if not fields.is_url(entry)
        )

    def _services(self) -> Iterator[Microservice]:
        for application in self.descriptor.applications if self.descriptor else ():
            yield from application.microservices

    def require(self, name: str = "the descriptor") -> Descriptor:
        """The descriptor; raises OakError with every fault when it is refused."""
        if self.descriptor is None:
            lines = tuple(str(finding) for finding in self.errors)
            count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
            raise OakError(f"{name} is refused: {count}", details=lines)
        return self.descriptor


def parse(text: str | bytes) -> Checked:
    """Check a descriptor, JSON or YAML. Never raises for what is in it."""
    try:
        tree, findings = read(text)
    except Unreadable as error:
        return Checked((error.finding,))
    if not isinstance(tree, dict):
        return Checked((Finding("", f"{shown(tree)} is not an object with applications"),))
    if old_shape.is_old(tree):
        return Checked((old_shape.FINDING,))
    descriptor, shape = faults.validate(tree)
    findings += [*shape, *section_rules.check(tree), *rules.check(tree), *keys.unknown(tree)]
    if descriptor is None or any(finding.severity == "error" for finding in findings):
        return Checked(_in_order(findings))
    findings += _not_enforced(descriptor)
    return Checked(_in_order(findings), descriptor, rules.external_targets(tree))


def _to_upload(references: Iterable[str]) -> tuple[str, ...]:
    new = (ref for ref in references if not ref.startswith(fields.SHA256_PREFIX))
    return tuple(dict.fromkeys(new))


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Each once, faults first."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda found: found.severity != "error"))


def _not_enforced(descriptor: Descriptor) -> list[Finding]:
    found = []
    for a, application in enumerate(descriptor.applications):
        for s, service in enumerate(application.microservices):
            path = below(below(below("applications", a), "microservices"), s)
            for inside, sentence in enforcement.gaps(service):
                found.append(Finding(below(path, inside), sentence, "warning"))
    return found
