"""The grammar that all commands share: nouns, verbs that stand for each other, option types.

Belongs here: how values are typed on the command line. Does not belong here: any command.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from oakctl.cli.output import Format
from oakctl.model.resources import Location

# What people type from habit → the verbs that may be meant, the first one there is.
_ALIASES: dict[str, tuple[str, ...]] = {
    "get": ("show",),
    "describe": ("show",),
    "list": ("ls",),
    "rm": ("remove", "delete", "forget"),
    "remove": ("delete", "forget"),
    "delete": ("remove", "forget"),
}

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Group(TyperGroup):
    """Commands whose verbs have silent aliases."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        for verb in _ALIASES.get(cmd_name, ()):
            found = found or super().get_command(ctx, verb)
        return found


def noun(name: str, summary: str) -> typer.Typer:
    """A group of commands on one kind of thing."""
    return typer.Typer(
        name=name,
        help=summary,
        cls=Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def duration(text: str | float) -> float:
    """Seconds from "90s", "2m", "1h30m", "500ms" or a bare number of seconds."""
    if isinstance(text, int | float):
        return float(text)
    compact = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    if not _DURATION.fullmatch(compact):
        raise typer.BadParameter(f"{text!r} is not a duration (like 90s, 2m or 1h30m)")
    return sum(float(value) * _UNITS[unit] for value, unit in _PART.findall(compact))


def share(text: str | float) -> float:
    """0 to 1 from "1%" or "0.5%"."""
    if isinstance(text, int | float):
        return float(text)
    number = text.strip().removesuffix("%")
    if not re.fullmatch(r"\d+(\.\d+)?", number) or float(number) > 100:
        raise typer.BadParameter(f"{text!r} is not a share (like 1%)")
    return float(number) / 100


def location(text: str | Location) -> Location:
    """A point from "latitude,longitude" in degrees."""
    if isinstance(text, Location):
        return text
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not LATITUDE,LONGITUDE") from error
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise typer.BadParameter(f"{text!r} is not on earth (−90…90, −180…180)")
    return Location(latitude, longitude)


class Shell(str, Enum):
    """Shells that completion is written for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


Output = Annotated[Format, typer.Option("-o", "--output", help="How to write it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Forget it without its host: for a host that is gone for good."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is so.")]
AcceptNew = Annotated[
    bool, typer.Option("--accept-new", help="Trust a host key that is not known yet.")
]
AllowReboot = Annotated[
    bool,
    typer.Option(
        "--allow-reboot", help="A host may restart where a change takes effect by that alone."
    ),
]
SudoPasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--sudo-password-file",
        metavar="FILE",
        help="Where the password for sudo stands (-: standard input); else it is asked for.",
    ),
]
PythonArchives = Annotated[
    list[Path] | None,
    typer.Option(
        "--python-archive",
        metavar="FILE",
        help="A standalone Python (tar.gz), pushed where the host's own will not do; repeatable.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        parser=duration, metavar="DURATION", help="How long to wait (90s, 2m).", show_default="2m"
    ),
]
Where = Annotated[
    Location | None,
    typer.Option("--location", parser=location, metavar="LAT,LON", help="Where it is, in degrees."),
]
DEFAULT_TIMEOUT: Any = "2m"
