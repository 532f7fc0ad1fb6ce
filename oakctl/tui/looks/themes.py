"""The two sets of colours, and which of them is used.

Belongs here: colours by the name of what they are for, the choice, remembering it. Does not belong
here: which widget has which of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from rich.terminal_theme import TerminalTheme
from textual.theme import Theme

from oakctl import paths
from oakctl.errors import OakError, UsageError

DARK = Theme(
    name="oak-dark",
    primary="#7fb069",
    secondary="#4f7d6b",
    accent="#e6b35a",
    warning="#e6b35a",
    error="#d9695f",
    success="#7fb069",
    foreground="#dcdccf",
    background="#161a17",
    surface="#1d221e",
    panel="#29302b",
    variables={"footer-key-foreground": "#e6b35a", "block-cursor-text-style": "bold"},
)
LIGHT = Theme(
    name="oak-light",
    primary="#3f6b33",
    secondary="#5b7f70",
    accent="#8f5a00",
    warning="#8f5a00",
    error="#a5342b",
    success="#3f6b33",
    foreground="#20261f",
    background="#f7f6ef",
    surface="#efede2",
    panel="#e0ddcd",
    dark=False,
    variables={"footer-key-foreground": "#8f5a00", "block-cursor-text-style": "bold"},
)
# The sixteen colours of a terminal as these themes have them: for tables, logs and pictures.
ANSI_DARK = TerminalTheme(
    (22, 26, 23),
    (220, 220, 207),
    [(22, 26, 23), (217, 105, 95), (127, 176, 105), (230, 179, 90),
     (106, 147, 191), (180, 142, 173), (111, 183, 173), (220, 220, 207)],
    [(131, 139, 128), (232, 140, 131), (156, 199, 137), (239, 203, 138),
     (143, 176, 212), (203, 174, 197), (150, 206, 198), (244, 244, 236)],
)  # fmt: skip
ANSI_LIGHT = TerminalTheme(
    (247, 246, 239),
    (32, 38, 31),
    [(32, 38, 31), (165, 52, 43), (63, 107, 51), (143, 90, 0),
     (43, 88, 140), (122, 66, 112), (20, 104, 98), (110, 112, 100)],
    [(112, 116, 104), (140, 38, 30), (48, 87, 38), (117, 72, 0),
     (30, 70, 118), (100, 50, 92), (12, 84, 79), (32, 38, 31)],
)  # fmt: skip
THEMES = {"dark": DARK, "light": LIGHT}
OTHER = {"dark": "light", "light": "dark"}
_LONGEST = 100  # of what is remembered


def named(word: str, now: str) -> str:
    """The theme that `word` asks for; the other one than `now` for no word.

    Raises UsageError for one that is not there.
    """
    if not word:
        return OTHER[now]
    if word not in THEMES:
        raise UsageError(f"{word!r} is no theme", hint=":theme dark, or :theme light")
    return word


def fitting(environment: Mapping[str, str]) -> str:
    """The one for this terminal: dark, unless it says that its background is light.

    COLORFGBG is "foreground;background" in the 16 colours, where rxvt, Konsole and others set it.
    """
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if background in ("7", "15") else "dark"


def remembered(environment: Mapping[str, str] = os.environ) -> str:
    """The one that was chosen last, else one that fits."""
    with contextlib.suppress(OSError, UnicodeDecodeError), _file().open(encoding="ascii") as file:
        word = file.read(_LONGEST).strip()
        if word in THEMES:
            return word
    return fitting(environment)


def remember(word: str) -> None:
    """Begin with this one from now on; raises OakError where that cannot be written."""
    paths.private_directory(paths.state_directory())
    try:
        _file().write_text(f"{word}\n", encoding="ascii")
    except OSError as error:
        raise OakError(
            f"the theme cannot be remembered in {_file()}: {error.strerror}",
            hint="it is used until you leave",
        ) from error


def _file() -> Path:
    return paths.state_directory() / "theme"
