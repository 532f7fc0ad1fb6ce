"""The line on top: where one is, how big the fleet is, how old all of it is.

Belongs here: its words, within a width. Does not belong here: a widget.
"""

from __future__ import annotations

from oakctl.tui.actions import TABS, View
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.snapshot import Snapshot

FRESH_S = 3.0  # a snapshot comes each second


def title(snapshot: Snapshot, now: float, view: View, width: int, *, note: str = "") -> str:
    """Tabs on the left, figures on the right; what does not fit is left out."""
    left = note or (_tabs(view) if view in TABS else f"{view.value}   esc goes back")
    if view is View.DEMO:
        left = f"oakctl  {note}".rstrip()
    for right in _figures(snapshot, now):
        gap = width - len(left) - len(right)
        if gap >= 2:
            return f"{left}{' ' * gap}{right}"
    return left[:width]


def _tabs(view: View) -> str:
    return " ".join(
        f"[{number} {each.value}]" if each is view else f" {number} {each.value} "
        for number, each in enumerate(TABS, 1)
    )


def tab_at(x: int, width: int) -> View | None:
    """The tab below a character of the title."""
    left = 0
    for number, each in enumerate(TABS, 1):
        right = left + len(f"[{number} {each.value}]")
        if left <= x < min(right, width):
            return each
        left = right + 1
    return None


def _figures(snapshot: Snapshot, now: float) -> tuple[str, ...]:
    root = snapshot.root
    if root is None:
        return "waiting for the root", "waiting", ""
    elapsed = now - snapshot.taken_at
    old = f"  {words.age(snapshot.taken_at, now)} old" if elapsed > FRESH_S else ""
    running = f"{words.count(root.instances_running, 'instance')} running{old}"
    workers = words.count(root.workers, "worker")
    return (
        f"oakctl {root.version}  root {root.pid}  {words.count(root.clusters, 'cluster')}  "
        f"{workers}  {running}",
        f"{words.count(root.clusters, 'cluster')}  {workers}  {running}",
        running,
        f"{root.instances_running} running{old}",
        old.strip(),
    )


def fault(message: str, snapshot: Snapshot, now: float) -> str:
    """What is wrong, and how old that makes what is shown."""
    if not message:
        return ""
    seen = snapshot.taken_at
    age = f"  (what is shown is {words.age(seen, now)} old)" if seen else ""
    return f"✗ {message}{age}"
