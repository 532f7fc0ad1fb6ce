"""What looking at hosts has shown, host by host, for people.

Belongs here: lines from findings. Does not belong here: which command asks (`host`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oakctl.model.views import HostCheck, HostFinding
from oakctl.tui.viewmodels.words import clean

SEVERITIES = ("block", "fixable", "note")
LONGEST = 2000  # characters of a line: a remedy that is cut off is none


def blocks(check: HostCheck) -> bool:
    """Whether one of the hosts cannot be used as it is."""
    return any(finding.severity == "block" for finding in check.findings)


def lines(check: HostCheck) -> list[str]:
    """A head for each host that was looked at, and below it what was found, worst first."""
    found: dict[str, list[HostFinding]] = {host: [] for host in check.looked_at}
    for finding in check.findings:
        found.setdefault(finding.host, []).append(finding)
    width = max((len(f.topic) for f in check.findings), default=0)
    written: list[str] = []
    for host, findings in found.items():
        written.append(f"{clean(host)}: {_verdict(findings)}")
        for finding in findings:
            written += _finding(finding, width)
    return written


def _verdict(findings: Sequence[HostFinding]) -> str:
    counts = {each: sum(f.severity == each for f in findings) for each in SEVERITIES}
    word = "cannot be used as it is" if counts["block"] else "usable"
    parts = [_count(counts[each], each) for each in SEVERITIES if counts[each]]
    return f"{word} ({', '.join(parts)})" if parts else word


def _count(number: int, severity: str) -> str:
    names = {"block": ("blocks it", "block it"), "note": ("note", "notes")}
    one, many = names.get(severity, (severity, severity))
    return f"{number} {one if number == 1 else many}"


def _finding(finding: HostFinding, width: int) -> Iterable[str]:
    topic = clean(finding.topic).ljust(width)
    severity = clean(finding.severity).ljust(len("fixable"))
    yield f"  {severity}  {topic}  {clean(finding.message, LONGEST)}".rstrip()
    if finding.remedy:
        yield f"  {'':{len('fixable')}}  {'':{width}}  -> {clean(finding.remedy, LONGEST)}"
