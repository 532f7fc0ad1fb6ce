"""Where a descriptor's services would go, in words. Pure.

Does not belong here: asking (`root.previewing`), the words of verdicts (`explanation`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.messages import Verdict
from oakctl.model.views import Preview, ServicePreview
from oakctl.tui.viewmodels import words


def lines(preview: Preview) -> Iterator[str]:
    """All of it; a service per line, below it why."""
    for service in preview.services:
        yield heading(service)
        for reason in reasons(service):
            yield f"  {reason}"


def heading(service: ServicePreview) -> str:
    """ "Rec.ar would go to edge/pi-2, the first of 3"."""
    name = service.job_name if service.is_new else f"{service.job_name} (is there already)"
    if not service.replicas:
        return f"{name}: no instance is wanted"
    of = f", the first of {service.replicas}" if service.replicas > 1 else ""
    if not service.cluster:
        return f"{name} would go nowhere now and wait{of}"
    where = f"{service.cluster}/{service.worker}" if service.worker else service.cluster
    return f"{name} would go to {where}{of}"


def reasons(service: ServicePreview) -> Iterator[str]:
    """Why there, or why nowhere: the root's verdicts, then those of each cluster that it asked."""
    for decision in service.decisions:
        for verdict in decision.verdicts:
            yield _reason(decision.by, verdict)


def _reason(by: str, verdict: Verdict) -> str:
    who = verdict.candidate if by in ("root", verdict.candidate) else f"{by}/{verdict.candidate}"
    mark = f"fits, score {words.number(verdict.score)}" if verdict.fits else "no"
    why = "; ".join(verdict.reasons)
    return f"{who}: {mark}{': ' if why else ''}{why}"
