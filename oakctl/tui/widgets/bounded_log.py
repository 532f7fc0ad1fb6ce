"""A log that keeps its last lines, and stands still while somebody reads further up.

Does not belong here: where lines come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from rich.text import Text
from textual.widgets import RichLog

LONGEST_LOG = 2000


class BoundedLog(RichLog):
    """Feed it lines; what comes while the reader is not at the end waits until he is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_lines=LONGEST_LOG, wrap=False, markup=False, **options)
        self._waiting: deque[Text] = deque(maxlen=LONGEST_LOG)
        self._dropped = 0

    def feed(self, lines: Iterable[Text]) -> None:
        """Append lines."""
        if self.is_vertical_scroll_end and not self._waiting:
            for line in lines:
                self.write(line)
            return
        for line in lines:
            # A deque that is full drops its oldest.
            self._dropped += len(self._waiting) == LONGEST_LOG
            self._waiting.append(line)
        self._tell()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Catch up when the reader comes back to the end."""
        super().watch_scroll_y(old_value, new_value)
        if self._waiting and self.is_vertical_scroll_end:
            if self._dropped:
                self.write(Text(f"… {self._dropped} lines dropped", style="italic"))
            while self._waiting:
                self.write(self._waiting.popleft())
            self._dropped = 0
            self._tell()

    def _tell(self) -> None:
        waiting = len(self._waiting) + self._dropped
        self.border_subtitle = f"{waiting} new below, End" if waiting else ""
