"""The one table of what can be done on the screens.

Footer, help page, palette and `:` commands are all made from it, so that none of them can name a
key that another one does not know. Belongs here: the table, which of it there is on a view, and
reading a typed command. Does not belong here: doing any of it (`doing`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from oakctl.errors import UsageError


class View(Enum):
    """Which screen; the values are what its tab says."""

    FLEET = "Fleet"
    SERVICES = "Services"
    NODES = "Nodes"
    INSTANCES = "Instances"
    EVENTS = "Events"
    OVERLAY = "Overlay"
    INSTANCE = "Instance"  # one of them
    DEMO = "Demonstration"


TABS = (View.FLEET, View.SERVICES, View.NODES, View.INSTANCES, View.EVENTS, View.OVERLAY)
_FLEET_VIEWS = frozenset(View) - {View.DEMO}
_LISTS = frozenset(TABS)


@dataclass(frozen=True)
class Action:
    """Something that can be done, by its key, from the palette, or typed as `:name`."""

    name: str
    key: str  # as Textual names keys
    title: str  # in the footer
    help: str
    on: frozenset[View]
    changes: bool = False  # the fleet: it asks first, and a read-only app does not have it
    target: str = ""  # what a typed command names: "SERVICE", "CLUSTER/WORKER"
    argument: str = ""  # what it takes besides: "NUMBER"
    in_footer: bool = True

    @property
    def usage(self) -> str:
        """How it is typed: ":scale SERVICE NUMBER"."""
        return " ".join(part for part in (f":{self.name}", self.target, self.argument) if part)


def _on(*views: View) -> frozenset[View]:
    return frozenset(views)


_V = View
ACTIONS: tuple[Action, ...] = (
    *(
        Action(
            view.value.lower(),
            str(number),
            view.value,
            f"go to {view.value}",
            _FLEET_VIEWS,
            in_footer=False,
        )
        for number, view in enumerate(TABS, 1)
    ),
    Action("open", "enter", "Open", "go to what the line is about", _LISTS),
    Action("fold", "space", "Fold", "hide or show what is below a line", _on(_V.FLEET, _V.DEMO)),
    Action(
        "scale",
        "s",
        "Scale",
        "set how many instances are wanted",
        _on(_V.SERVICES),
        changes=True,
        target="SERVICE",
        argument="NUMBER",
    ),
    Action(
        "restart",
        "R",
        "Restart",
        "replace its instances, one after the other",
        _on(_V.SERVICES),
        changes=True,
        target="SERVICE",
        in_footer=False,
    ),
    Action(
        "migrate",
        "m",
        "Move",
        "replace an instance by one on another worker",
        _on(_V.INSTANCES),
        changes=True,
        target="INSTANCE",
        argument="CLUSTER/WORKER",
    ),
    Action(
        "delete",
        "D",
        "Delete",
        "delete the application that the service is part of",
        _on(_V.SERVICES),
        changes=True,
        target="SERVICE",
    ),
    Action(
        "explain",
        "x",
        "Explain",
        "say why instances are where they are, or are nowhere",
        _on(_V.SERVICES, _V.INSTANCES, _V.INSTANCE),
        target="SERVICE",
    ),
    Action(
        "cordon",
        "c",
        "Cordon",
        "give the worker nothing new",
        _on(_V.NODES),
        changes=True,
        target="CLUSTER/WORKER",
    ),
    Action(
        "uncordon",
        "u",
        "Uncordon",
        "let the worker take new instances again",
        _on(_V.NODES),
        changes=True,
        target="CLUSTER/WORKER",
    ),
    Action(
        "drain",
        "d",
        "Drain",
        "move the worker's instances elsewhere",
        _on(_V.NODES),
        changes=True,
        target="CLUSTER/WORKER",
    ),
    Action(
        "logs",
        "l",
        "Logs",
        "show an instance: its states, its output",
        _on(_V.INSTANCES),
        target="INSTANCE",
    ),
    Action(
        "follow", "f", "Follow", "go on to the newest line, or stay", _on(_V.EVENTS, _V.INSTANCE)
    ),
    Action(
        "reach",
        "t",
        "Test",
        "try from inside the nodes, or one, what should be reached",
        _on(_V.OVERLAY),
        target="NODE",
    ),
    Action(
        "trace",
        "v",
        "Trace",
        "follow the service's addresses from a node",
        _on(_V.OVERLAY),
        target="SERVICE",
        argument="NODE",
    ),
    Action(
        "edit",
        "e",
        "Edit",
        "write a descriptor, see where it would go, run it",
        _on(_V.FLEET, _V.SERVICES),
        changes=True,
        argument="FILE",
        in_footer=False,
    ),
    Action(
        "setup",
        "w",
        "Set up",
        "the wizard: machines, a fleet on them, a first application",
        _on(_V.FLEET),
        changes=True,
    ),
    Action("filter", "slash", "Filter", "show only lines with: text  !text  key=value", _LISTS),
    Action("command", "colon", "Command", "type a command", _FLEET_VIEWS),
    Action("palette", "ctrl+p", "Palette", "search for a command", _FLEET_VIEWS, in_footer=False),
    Action(
        "theme",
        "T",
        "Theme",
        "light or dark colours",
        _FLEET_VIEWS,
        argument="dark|light",
        in_footer=False,
    ),
    Action("refresh", "r", "Refresh", "ask the root now", frozenset(View), in_footer=False),
    Action("back", "escape", "Back", "leave: filter, page", _FLEET_VIEWS, in_footer=False),
    Action("help", "question_mark", "Help", "this page", frozenset(View)),
    Action("quit", "q", "Quit", "leave", frozenset(View)),
)
BY_NAME = {action.name: action for action in ACTIONS}
KEYS = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "enter": "⏎",
    "escape": "esc",
    "ctrl+p": "^p",
}


def key_of(action: Action) -> str:
    """Its key as people write it."""
    return KEYS.get(action.key, action.key)


def on_view(view: View, *, read_only: bool = False) -> tuple[Action, ...]:
    """What there is on a view."""
    return tuple(
        action for action in ACTIONS if view in action.on and not (read_only and action.changes)
    )


def help_lines(view: View, *, read_only: bool = False) -> Iterator[str]:
    """The help page of a view."""
    for action in on_view(view, read_only=read_only):
        yield f"{key_of(action):<7} {action.help}"
    if view is View.DEMO:
        return
    yield ""
    for action in ACTIONS:
        if action.target and not (read_only and action.changes):
            yield f"{action.usage:<26} {action.help}"
    if read_only:
        yield ""
        yield "read-only: what would change the fleet is left out"


@dataclass(frozen=True)
class Typed:
    """A typed command."""

    action: Action
    target: str = ""  # empty: what is selected
    argument: str = ""


def read(text: str, *, read_only: bool = False) -> Typed:
    """What `text`, without its colon, asks for; raises UsageError with what can be typed.

    The start of a name will do where only one begins so.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r} cannot be read: {error}", hint=":help") from error
    if not words:
        raise UsageError("nothing was typed", hint=":help")
    name, *rest = words
    found = [BY_NAME[name]] if name in BY_NAME else _beginning_with(name)
    if len(found) != 1:
        known = ", ".join(f":{action.name}" for action in found) or ":help names them"
        what = "can be more than one command" if found else "is no command"
        raise UsageError(f":{name} {what}", hint=known)
    action = found[0]
    if action.changes and read_only:
        raise UsageError(f":{action.name} changes the fleet, and this is read-only")
    if len(rest) > bool(action.target) + bool(action.argument):
        raise UsageError(f"that is too much for :{action.name}", hint=action.usage)
    if action.argument and len(rest) == 1:  # the argument alone: of what is selected
        return Typed(action, "", rest[0])
    return Typed(action, *rest)


def _beginning_with(name: str) -> list[Action]:
    return [action for action in ACTIONS if action.name.startswith(name)]
