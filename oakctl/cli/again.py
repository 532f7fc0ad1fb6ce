"""The command that is being carried out, as it was typed: it is suggested with all of its options.

Belongs here: its words. Does not belong here: when it is suggested.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

_AGREED = ("--yes", "-y")
_words: tuple[str, ...] | None = None


def remember(arguments: Sequence[str]) -> None:
    """This is what was typed behind `oakctl`."""
    global _words
    _words = tuple(arguments)


def typed(*more: str) -> str:
    """The command to type once more; `more` are options that it needs then, each once."""
    words = list(sys.argv[1:] if _words is None else _words)
    # What stands behind `--` is no option of ours.
    end = words.index("--") if "--" in words else len(words)
    given = words[:end]
    agreed = any(word in _AGREED for word in given)
    added = [word for word in more if word not in given and not (agreed and word in _AGREED)]
    return shlex.join(["oakctl", *given, *added, *words[end:]])
