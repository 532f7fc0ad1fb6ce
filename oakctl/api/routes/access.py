"""How a route gets at the root it serves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from oakctl.orchestration.root.root import Root


def _root(request: Request) -> Root:
    root: Root = request.app.state.root
    return root


RootOf = Annotated[Root, Depends(_root)]
