"""A table that is given all its rows again and again, and changes only what differs.

Cursor and scroll position stay with the row that they are on. Does not belong here: what the
rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.widgets import DataTable
from textual.widgets.data_table import RowDoesNotExist

from oakctl.tui.plain import plain_cell
from oakctl.tui.viewmodels.rows import Row


class KeyedTable(DataTable[Text]):
    """Rows by key; `show` makes the table what it is given."""

    def __init__(self, columns: Sequence[str], **options: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self._titles = tuple(columns)
        self._shown: dict[str, Row] = {}

    def on_mount(self) -> None:
        """Make the columns."""
        for title in self._titles:
            self.add_column(title, key=title)
        self.watch(self, "virtual_size", self._paint_anew, init=False)

    def _paint_anew(self) -> None:
        # A row may have been painted, and kept, before the widths of its columns followed.
        self._clear_caches()
        self.refresh()

    @property
    def selected_key(self) -> str:
        """The key of the row under the cursor; empty for an empty table."""
        keys = list(self._shown)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else ""

    def show(self, rows: Sequence[Row]) -> None:
        """Make the table `rows`, in that order."""
        wanted = {row.key: row for row in rows}
        selected = self.selected_key
        kept = [key for key in self._shown if key in wanted]
        if list(wanted)[: len(kept)] == kept:
            self._change(wanted)
        else:
            # A row came between others; a table cannot insert.
            self.clear()
            for row in rows:
                self._add(row)
        self._shown = wanted
        if selected in wanted and selected != self.selected_key:
            self.move_cursor(row=list(wanted).index(selected), animate=False, scroll=False)

    def _change(self, wanted: dict[str, Row]) -> None:
        for key in self._shown.keys() - wanted.keys():
            try:
                self.remove_row(key)
            except RowDoesNotExist:
                continue
        for key, row in wanted.items():
            before = self._shown.get(key)
            if before is None:
                self._add(row)
            elif before.cells != row.cells:
                self._update(before, row)

    def _add(self, row: Row) -> None:
        self.add_row(*(plain_cell(cell) for cell in row.cells), key=row.key)

    def _update(self, before: Row, row: Row) -> None:
        for title, old, new in zip(self._titles, before.cells, row.cells, strict=True):
            if old != new:
                wider = len(new.text) != len(old.text)
                self.update_cell(row.key, title, plain_cell(new), update_width=wider)
