"""`oakctl instance cp`: files and directories into an instance, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, session
from oakctl.cli.grammar import examples
from oakctl.errors import UsageError
from oakctl.tui.viewmodels import words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

TELL_EVERY = 10  # percent
TELL_EVERY_BYTES = 16 * 1024 * 1024  # where the whole is not known
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="FILE, or INSTANCE:PATH.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="INSTANCE:PATH, or FILE.")]


def cp(source: Source, target: Target) -> None:
    """Copy a file or a directory into an instance, or out of one.

    PATH is below the instance's working directory; in a container it is below /. Into a directory
    that is there the source goes under its own name, else the target is its new name. Links that
    lead out of what is copied, and devices, are refused.
    """
    there, here = _place(source), _place(target)
    if (there is None) == (here is None):
        raise UsageError(
            "one of the two has to be INSTANCE:PATH, and only one",
            hint="oakctl instance cp --help (a file with a colon in its name: ./NAME)",
        )

    async def main() -> int:
        async with session.root() as client:
            if here is not None:
                return await _into(client, Path(source), *here)
            assert there is not None
            return await _out_of(client, *there, Path(target))

    size = session.run(main())
    diagnostics.say(f"{source} is copied to {target} ({words.file_size(size)})")


async def _into(client: RootClient, source: Path, instance: str, path: str) -> int:
    from oakctl.client import copying

    tell = _Progress(copying.size_of(source) if source.exists() else 0)
    return await copying.into(client.sessions, source, instance, path, tell)


async def _out_of(client: RootClient, instance: str, path: str, target: Path) -> int:
    from oakctl.client import copying

    return await copying.out_of(client.sessions, instance, path, target, _Progress(0))


class _Progress:
    """Tells of every tenth part, or of every so many bytes where there is no whole."""

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._told = 0

    def __call__(self, size: int) -> None:
        if not self._whole:
            if size >= self._told + TELL_EVERY_BYTES:
                self._told = size
                diagnostics.say(words.file_size(size))
            return
        share = min(100, 100 * size // self._whole)
        if self._whole >= TELL_EVERY_BYTES and share >= self._told + TELL_EVERY:
            self._told = share
            diagnostics.say(f"{share} % of {words.file_size(self._whole)}")


def _place(given: str) -> tuple[str, str] | None:
    """(instance, path) where something in an instance is meant."""
    name, separator, path = given.partition(":")
    return (name, path) if separator and name and "/" not in name else None


def register(app: typer.Typer) -> None:
    """Add the command to its noun."""
    app.command(
        "cp",
        epilog=examples(
            "oakctl instance cp model.bin Rec.instance.0:/data/",
            "oakctl instance cp Rec.instance.0:/data/out.csv .",
        ),
    )(cp)
