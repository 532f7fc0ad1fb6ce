"""The output of a command, line by line as it comes, without what a login shell says before.

Belongs here: a sink for one stream. Does not belong here: running the command (`connection`).
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST_LINE = 65536  # characters after which a line is told though it goes on

Listener = Callable[[str, str], None]  # stream ("out", "err"), a line without its end


class Lines:
    """What invoke writes a stream to: it tells each line after the one that is the mark."""

    def __init__(self, stream: str, mark: str, listener: Listener) -> None:
        self._stream = stream
        self._mark = mark
        self._listener = listener
        self._begun = False
        self._rest = ""

    def write(self, text: str) -> None:
        """Called by invoke, with any piece of the output."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > LONGEST_LINE:
            self._take(self._rest)
            self._rest = ""

    def flush(self) -> None:
        """Called by invoke; a line is told when it has ended."""

    def close(self) -> None:
        """Tell what did not end with a line end."""
        if self._rest:
            self._take(self._rest)
            self._rest = ""

    def _take(self, line: str) -> None:
        if self._begun:
            self._listener(self._stream, line)
        # A greeting may end without a line end, right before the mark.
        elif line.endswith(self._mark):
            self._begun = True
