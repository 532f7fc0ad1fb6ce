"""Every command has help and an example that names it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from oakctl.cli.app import app

PROGRAM: Any = typer.main.get_command(app)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(PROGRAM))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_has_help_and_examples(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    first = command.help.splitlines()[0]
    assert first.endswith(".")
    lines = [line.strip() for line in command.epilog.splitlines()]
    assert "Examples:" in lines
    examples = [line for line in lines if line.startswith("oakctl")]
    assert examples
    for example in examples:
        assert tuple(shlex.split(example)[1 : 1 + len(path)]) == path
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} has no help"


def test_every_noun_says_what_it_is() -> None:
    groups = [command for command in PROGRAM.commands.values() if hasattr(command, "commands")]
    assert len(groups) == 14
    assert all(group.help for group in groups)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("worker", "rm"), "remove"),
        (("worker", "delete"), "remove"),
        (("app", "rm"), "delete"),
        (("app", "remove"), "delete"),
        (("host", "remove"), "forget"),
        (("cluster", "describe"), "show"),
        (("service", "get"), "show"),
        (("service", "list"), "ls"),
    ],
)
def test_verbs_stand_for_each_other(typed: tuple[str, str], meant: str) -> None:
    group = PROGRAM.commands[typed[0]]
    assert group.get_command(None, typed[1]) is group.commands[meant]
    assert typed[1] not in group.commands or typed[1] == meant


def test_lists_all_take_an_output_form() -> None:
    for path, command in ALL.items():
        if path[-1] == "ls":
            assert any("-o" in parameter.opts for parameter in command.params), path


def test_what_destroys_takes_yes() -> None:
    for path in [
        ("app", "delete"),
        ("worker", "remove"),
        ("cluster", "remove"),
        ("host", "forget"),
    ]:
        assert any("--yes" in parameter.opts for parameter in ALL[path].params), path
