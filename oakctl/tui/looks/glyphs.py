"""Which characters a terminal can draw, and what stands for the others. Pure.

A Linux console has a font of 256 or 512 glyphs: lines and blocks, no circles, no check marks. A
terminal whose locale is no UTF-8 shows every other character as rubbish, several columns wide.
What stands for a character is as wide as that, so that nothing moves. Does not belong here: how
text comes through this on its way to the screen (`filtering`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from rich.cells import cell_len

from oakctl.errors import UsageError

VARIABLE = "OAKCTL_GLYPHS"


class Glyphs(Enum):
    """What can be drawn; the values are what the variable says."""

    UNICODE = "unicode"
    CONSOLE = "console"  # Latin-1, lines, blocks, arrows
    ASCII = "ascii"


def glyphs_of(environment: Mapping[str, str]) -> Glyphs:
    """What the terminal of a process with this environment can draw.

    `OAKCTL_GLYPHS` decides; else a locale that is set and names no UTF-8, else TERM. Raises
    UsageError for a word that stands for none.
    """
    wanted = environment.get(VARIABLE, "").lower()
    if wanted:
        try:
            return Glyphs(wanted)
        except ValueError as error:
            known = ", ".join(each.value for each in Glyphs)
            raise UsageError(
                f"{VARIABLE}={wanted!r} is none of {known}", hint=f"unset {VARIABLE}"
            ) from error
    # POSIX: the first of these that is not empty counts. Without any, terminals are UTF-8 by now.
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "")
    if locale and "utf8" not in locale.lower().replace("-", ""):
        return Glyphs.ASCII
    return Glyphs.CONSOLE if environment.get("TERM") == "linux" else Glyphs.UNICODE


# Ours, which should stay as telling as they are.
_ASCII = {
    "●": "*", "◐": "~", "▲": "!", "✗": "x", "×": "x", "○": "o", "✓": "v", "…": ".", "·": ".",
    "•": "*", "—": "-", "–": "-", "→": ">", "←": "<", "↑": "^", "↓": "v", "›": ">", "⏎": "<",
    "▼": "v", "▶": ">", "▸": ">", "▾": "v", "▀": "=", "▄": "_", "░": ".", "▒": ":", "▏": ".",
    "▎": ".", "▁": "_", "▂": "_", "▔": "-", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_CONSOLE_CHARACTERS = frozenset("─│┌┐└┘├┤┬┴┼═║╔╗╚╝█▀▄▌▐░▒▓←↑→↓")
_CONSOLE = {
    "╭": "┌", "╮": "┐", "╰": "└", "╯": "┘", "━": "─", "┃": "│", "▁": "▄", "▔": "▀",
    "▏": "│", "▎": "▌", "▍": "▌", "▋": "▌", "▊": "█", "▉": "█",
}  # fmt: skip
_HORIZONTAL = frozenset("─━┄┅┈┉╌╍═╴╶╸╺╼╾")
_VERTICAL = frozenset("│┃┆┇┊┋╎╏║╵╷╹╻╽╿")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def drawn(text: str, glyphs: Glyphs) -> str:
    """`text` as it can be drawn, as many columns wide."""
    if glyphs is Glyphs.UNICODE or text.isascii():
        return text
    return _NOT_ASCII.sub(lambda found: _standing_for(found.group(), glyphs), text)


@lru_cache(4096)
def _standing_for(character: str, glyphs: Glyphs) -> str:
    if glyphs is Glyphs.CONSOLE:
        other = _CONSOLE.get(character, character)
        if other in _CONSOLE_CHARACTERS or "\xa0" <= other <= "\xff":
            return other
    columns = cell_len(character)
    other = _ASCII.get(character) or _of_block(character) or _simplified(character)
    return other if cell_len(other) == columns else "?" * columns


def _of_block(character: str) -> str:
    if "\u2500" <= character <= "\u257f":
        if character in _HORIZONTAL:
            return "-"
        return "|" if character in _VERTICAL else "+"
    if "\u2580" <= character <= "\u259f":
        return "#"
    if "\u2800" <= character <= "\u28ff":  # Braille, in plots
        return " " if character == "\u2800" else ":"
    return ""


def _simplified(character: str) -> str:
    """A letter without its marks, ASCII alone."""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
