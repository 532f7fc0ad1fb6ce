"""How clusters are linked with each other, in words.

Belongs here: what `cluster ls -o wide` and `cluster show` say of it. Does not belong here: the
commands (`cli.cluster`).
"""

from __future__ import annotations

from oakctl.model.views import ClusterLink, ClusterView
from oakctl.tui.viewmodels import words


def column(view: ClusterView, _: float) -> str:
    """The other clusters, each with who dials, or that the root carries."""
    return ", ".join(
        f"{link.cluster} ({f'by {link.dialled_by}' if link.linked else 'root carries'})"
        for link in view.links
    )


def fields(view: ClusterView, now: float) -> list[tuple[str, str]]:
    """A line for each other cluster."""
    return [(f"link to {link.cluster}", _in_words(link, now)) for link in view.links]


def _in_words(link: ClusterLink, now: float) -> str:
    if not link.linked:
        return f"none, the root carries: {link.reason}"
    return f"direct for {words.age(link.since, now)}, {link.dialled_by} dials"
