"""`oakctl playbook`: what is done to a host, step by step, to be read before it is done."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from oakctl import paths
from oakctl.cli import output as stdout
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import NotFound

app = noun("playbook", "Playbooks: what is done to a host, step by step.")


@dataclass(frozen=True)
class PlaybookView:
    """A playbook, as it is listed."""

    name: str
    summary: str
    path: str
    own: bool  # the user's, not one that ships with oakctl


COLUMNS = (
    Column[PlaybookView]("Name", lambda view, now: view.name),
    Column[PlaybookView]("Whose", lambda view, now: "yours" if view.own else "oakctl"),
    Column[PlaybookView]("Summary", lambda view, now: view.summary),
    Column[PlaybookView]("Path", lambda view, now: view.path, wide=True),
)


def found() -> list[PlaybookView]:
    """Every playbook by name; the user's own first where two have the same name."""
    from oakctl.remote import resources

    own = paths.config_directory() / "playbooks"
    views = [*_in(own, own=True), *_in(resources.data("playbooks"), own=False)]
    return sorted(views, key=lambda view: (view.name, not view.own))


def _in(directory: Path, *, own: bool) -> Iterator[PlaybookView]:
    for file in sorted(directory.glob("*.py")):
        if not file.name.startswith("_"):
            yield PlaybookView(file.stem, _summary(file), str(file), own)


def _summary(file: Path) -> str:
    # Read, not imported: looking at a playbook must not run it.
    try:
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, UnicodeDecodeError) as error:
        return f"(not readable: {error})"
    return text.partition("\n")[0]


@app.command("ls", epilog=examples("oakctl playbook ls", "oakctl playbook ls -o wide"))
def ls(output: Output = Format.TABLE) -> None:
    """List the playbooks, yours and those that ship with oakctl."""
    listing(found(), output, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl playbook show worker"))
def show(name: Annotated[str, typer.Argument(help="The playbook.")]) -> None:
    """Write the source of a playbook: exactly what will be done."""
    for view in found():
        if view.name == name:
            stdout.text(Path(view.path).read_text(encoding="utf-8"))
            return
    raise NotFound(f"there is no playbook {name}", hint="oakctl playbook ls")
