"""A table that is given all its rows again and again, and draws only those that are seen.

Cursor and scroll position stay with the row that they are on, whatever comes and goes above it.
Textual's DataTable cannot insert a row, and holds each cell: thousands of rows that change every
second would stop the keys. Does not belong here: what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from oakctl.tui.plain import STYLES
from oakctl.tui.viewmodels.rows import Cell
from oakctl.tui.viewmodels.words import clean

GAP = 2  # characters between columns
_STYLES = {tone: Style.parse(text) for tone, text in STYLES.items()}


class TableRow(Protocol):
    """What a row has to have; its cells are asked for when it is drawn."""

    @property
    def key(self) -> str:
        """Which thing it is about, from one drawing to the next."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One for each column."""


class KeyedTable(ScrollView, can_focus=True):
    """Rows by key; `show` makes the table what it is given."""

    class Opened(Message):
        """Somebody clicked on the row that the cursor was on."""

    class Moved(Message):
        """Somebody put the cursor on another row."""

    DEFAULT_CSS = """
    KeyedTable { background: $surface; color: $foreground; scrollbar-size: 0 1; }
    KeyedTable > .keyed-table--head { color: $text-muted; text-style: bold; }
    KeyedTable > .keyed-table--cursor { background: $surface-lighten-2; }
    KeyedTable:focus > .keyed-table--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground;
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"keyed-table--head", "keyed-table--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "end(False)", "First", show=False),
        Binding("end,G", "end(True)", "Last", show=False),
    ]

    cursor_row: reactive[int] = reactive(0, repaint=False)

    def __init__(self, columns: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self._titles = tuple(columns)
        self._rows: Sequence[TableRow] = ()
        self._widths = [cell_len(title) for title in columns]
        self._drawn: dict[int, tuple[Cell, ...]] = {}

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    @property
    def selected_key(self) -> str:
        """The key of the row under the cursor; empty for an empty table."""
        if 0 <= self.cursor_row < len(self._rows):
            return self._rows[self.cursor_row].key
        return ""

    @property
    def keys(self) -> list[str]:
        """The keys of all rows, in order."""
        return [row.key for row in self._rows]

    @property
    def is_at_end(self) -> bool:
        """Whether the cursor is on the last row."""
        return self.cursor_row >= len(self._rows) - 1

    def show(self, rows: Sequence[TableRow]) -> None:
        """Make the table `rows`, in that order; keys are unique."""
        before, key = self.cursor_row, self.selected_key
        self._rows = rows
        self._drawn.clear()
        place = self._place_of(key, before)
        above = before - round(self.scroll_offset.y)  # where on the screen the cursor was
        self._measure(round(self.scroll_offset.y))
        self.cursor_row = place
        if place != before:
            self.scroll_to(y=max(0, place - above), animate=False, force=True)
        self.refresh()

    def _place_of(self, key: str, before: int) -> int:
        rows = self._rows
        if before < len(rows) and rows[before].key == key:
            return before
        for index, row in enumerate(rows):
            if row.key == key:
                return index
        return max(0, min(before, len(rows) - 1))

    def select(self, key: str) -> bool:
        """Put the cursor on a row; False where there is none of that key."""
        for index, row in enumerate(self._rows):
            if row.key == key:
                self.move_cursor(row=index)
                return True
        return False

    def move_cursor(self, *, row: int, animate: bool = False, scroll: bool = True) -> None:
        """Put the cursor on a row, and bring that into view."""
        self.cursor_row = max(0, min(row, len(self._rows) - 1))
        if scroll:
            top, height = round(self.scroll_offset.y), max(1, self._height())
            if self.cursor_row < top:
                self.scroll_to(y=self.cursor_row, animate=animate, force=True)
            elif self.cursor_row >= top + height:
                self.scroll_to(y=self.cursor_row - height + 1, animate=animate, force=True)
        self.refresh()

    def _go(self, row: int) -> None:
        self.move_cursor(row=row)
        self.post_message(self.Moved())

    def action_move(self, by: int) -> None:
        """The next row, or the one before."""
        self._go(self.cursor_row + by)

    def action_page(self, by: int) -> None:
        """As many rows as are seen."""
        self._go(self.cursor_row + by * max(1, self._height() - 1))

    def action_end(self, last: bool) -> None:
        """The first or the last row."""
        self._go(len(self._rows) - 1 if last else 0)

    def on_click(self, event: events.Click) -> None:
        """A click selects; one on what is selected opens it."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < 1:
            return
        row = offset.y - 1 + round(self.scroll_offset.y)
        if row < len(self._rows):
            again = row == self.cursor_row and self.has_focus and event.chain > 1
            self._go(row)
            if again:
                self.post_message(self.Opened())

    def on_resize(self) -> None:
        """Keep the cursor in view."""
        self._measure(round(self.scroll_offset.y))
        self.move_cursor(row=self.cursor_row)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """What comes into view may be wider."""
        super().watch_scroll_y(old_value, new_value)
        self._measure(round(new_value))

    def _height(self) -> int:
        return self.scrollable_content_region.height - 1

    def _measure(self, top: int) -> None:
        """Widths never shrink: columns that jump are harder to read than wide ones."""
        for index in range(top, min(len(self._rows), top + max(1, self.size.height))):
            for column, found in enumerate(self._cells(index)):
                self._widths[column] = max(self._widths[column], cell_len(found.text))
        width = sum(self._widths) + GAP * (len(self._widths) - 1)
        self.virtual_size = Size(width, len(self._rows) + 1)

    def _cells(self, index: int) -> tuple[Cell, ...]:
        found = self._drawn.get(index)
        if found is None:
            found = tuple(Cell(clean(each.text), each.tone) for each in self._rows[index].cells)
            self._drawn[index] = found
        return found

    def render_line(self, y: int) -> Strip:
        """The head, or one row."""
        left, top = self.scroll_offset
        width = self.scrollable_content_region.width
        if y == 0:
            style = self.get_component_rich_style("keyed-table--head")
            head = [Cell(title) for title in self._titles]
            return self._cut(self._strip(head, style), left, width, style)
        index = y - 1 + top
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        style = self.rich_style
        on_cursor = index == self.cursor_row
        if on_cursor:
            style = self.get_component_rich_style("keyed-table--cursor")
        strip = self._strip(self._cells(index), style, toned=not (on_cursor and self.has_focus))
        return self._cut(strip, left, width, style)

    def _cut(self, strip: Strip, left: int, width: int, style: Style) -> Strip:
        """What is seen of a line; › says that more is to the right."""
        seen = strip.crop_extend(left, left + width, style)
        rest = strip.text[left + width :]  # nearly: only blank or not matters
        if not rest.strip() or width < 2:
            return seen
        return Strip([*seen.crop(0, width - 1), Segment("›", style)])

    def _strip(self, cells: Sequence[Cell], style: Style, *, toned: bool = True) -> Strip:
        segments = []
        for found, width in zip(cells, self._widths, strict=True):
            tone = _STYLES.get(found.tone) if found.tone is not None and toned else None
            segments.append(
                Segment(set_cell_size(found.text, width), style + tone if tone else style)
            )
            segments.append(Segment(" " * GAP, style))
        return Strip(segments)
