"""The palette: everything that can be done on the view, to search in."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from oakctl.tui import actions
from oakctl.tui.screens.view import FleetView


class ActionProvider(Provider):
    """The actions of the table that the view has; all text is ours."""

    def _entries(self) -> list[tuple[str, actions.Action]]:
        screen = self.screen
        if not isinstance(screen, FleetView):
            return []
        there = actions.on_view(screen.view, read_only=screen.oak.read_only)
        return [
            (f"{each.title} ({actions.key_of(each)})", each)
            for each in there
            if each.name not in ("palette", "back")
        ]

    async def discover(self) -> Hits:
        """All of them."""
        for text, action in self._entries():
            yield DiscoveryHit(text, partial(self._do, action.name), help=action.help)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for text, action in self._entries():
            score = max(matcher.match(text), matcher.match(action.help))
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(text),
                    partial(self._do, action.name),
                    help=action.help,
                )

    def _do(self, name: str) -> None:
        screen = self.screen
        if isinstance(screen, FleetView):
            screen.action_do(name)
