"""`oakctl host python`: standalone Pythons for hosts whose own is too old."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oakctl.cli import diagnostics
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.remote import python_cache
from oakctl.remote.interpreter import PythonArchive

app = noun("python", "Standalone Pythons, pushed to hosts whose own is missing or too old.")

COLUMNS = (
    Column[PythonArchive]("Id", lambda archive, now: archive.folder),
    Column[PythonArchive]("Python", lambda archive, now: archive.python),
    Column[PythonArchive]("Arch", lambda archive, now: archive.architecture),
    Column[PythonArchive]("Needs", lambda archive, now: needs(archive)),
    Column[PythonArchive]("Size", lambda archive, now: f"{archive.size / 1e6:.1f} MB"),
    Column[PythonArchive]("File", lambda archive, now: archive.name),
    Column[PythonArchive]("Sha256", lambda archive, now: archive.sha256, wide=True),
)


def needs(archive: PythonArchive) -> str:
    """Which C library a host must have for it."""
    return "-" if archive.libc == "own" else archive.libc


def given(files: list[Path] | None) -> None:
    """Keep the archives that a command was given, so that what it begins can push them."""
    for file in files or ():
        archive = python_cache.add(file)
        diagnostics.say(f"Python {archive.python} for {archive.architecture}: {file}")


@app.command(
    epilog=examples(
        "oakctl host python add cpython-3.12.8+20250106-aarch64-unknown-linux-gnu-"
        "install_only.tar.gz",
    )
)
def add(
    file: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A tar.gz with bin/python3.")],
) -> None:
    """Look into an archive, try it where that is possible, and keep a copy for hosts."""
    given([file])


@app.command("ls", epilog=examples("oakctl host python ls"))
def ls(output: Output = Format.TABLE) -> None:
    """List the archives; a host gets the first that suits it."""
    listing(python_cache.listed(), output, COLUMNS, lambda archive: archive.folder)


@app.command("remove", epilog=examples("oakctl host python remove 4f1d2c90ab12"))
def remove(name: Annotated[str, typer.Argument(help="Its id or file name.")]) -> None:
    """Take an archive out; hosts that have it keep it."""
    diagnostics.say(f"{python_cache.remove(name).name} is taken out")
