"""The table of actions, and reading typed commands."""

from __future__ import annotations

from collections import Counter

import pytest

from oakctl.errors import UsageError
from oakctl.tui import actions
from oakctl.tui.actions import ACTIONS, View
from oakctl.tui.doing import Doing


@pytest.mark.parametrize("view", View)
def test_no_key_means_two_things_on_a_view(view: View) -> None:
    assert max(Counter(action.key for action in actions.on_view(view)).values()) == 1


def test_each_action_can_be_done() -> None:
    tabs = {view.value.lower() for view in actions.TABS}
    of_the_view = {"fold", "filter", "command", "back", "follow"}  # `on_<name>_asked` of a screen
    for action in ACTIONS:
        assert action.name in tabs | of_the_view or hasattr(Doing, action.name), action.name


def test_help_names_every_key_of_the_view_and_leaves_out_what_changes_when_read_only() -> None:
    lines = "\n".join(actions.help_lines(View.NODES))
    assert all(action.help in lines for action in actions.on_view(View.NODES))
    assert ":drain CLUSTER/WORKER" in lines
    read_only = "\n".join(actions.help_lines(View.NODES, read_only=True))
    assert "drain" not in read_only
    assert "scale" not in read_only
    assert "read-only" in read_only


@pytest.mark.parametrize(
    ("text", "name", "target", "argument"),
    [
        ("scale Rec 2", "scale", "Rec", "2"),
        ("scale 2", "scale", "", "2"),
        ("scale", "scale", "", ""),
        ("drain edge/w1", "drain", "edge/w1", ""),
        ("exp 'Rec'", "explain", "Rec", ""),
        ("nodes", "nodes", "", ""),
        ("q", "quit", "", ""),
    ],
)
def test_typed_commands(text: str, name: str, target: str, argument: str) -> None:
    typed = actions.read(text)
    assert (typed.action.name, typed.target, typed.argument) == (name, target, argument)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing was typed"),
        ("frobnicate", "is no command"),
        ("e", "can be more than one command"),
        ("drain a b", "too much"),
        ("nodes a", "too much"),
        ("scale 'Rec", "cannot be read"),
        ("[/x]", "is no command"),
    ],
)
def test_what_cannot_be_typed_says_what_can(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        actions.read(text)


def test_read_only_refuses_what_changes() -> None:
    for action in ACTIONS:
        if action.changes:
            with pytest.raises(UsageError, match="read-only"):
                actions.read(action.name, read_only=True)
