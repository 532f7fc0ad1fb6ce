"""Named secrets. A value comes in, and never out."""

from __future__ import annotations

from fastapi import APIRouter

from oakctl.api.routes.access import RootOf
from oakctl.model.requests import SecretSet
from oakctl.model.views import SecretView

router = APIRouter(prefix="/v1", tags=["secrets"])


@router.get("/secrets")
async def secrets(root: RootOf) -> list[SecretView]:
    """Every secret, without its value."""
    return [*await root.secrets.all()]


@router.put("/secrets/{name}")
async def put(root: RootOf, name: str, request: SecretSet) -> SecretView:
    """Give a secret its value."""
    view = await root.secrets.put(name, request)
    root.changed()
    return view


@router.delete("/secrets/{name}")
async def remove(root: RootOf, name: str, force: bool = False) -> SecretView:
    """Forget a secret that no service is given; `force`: any."""
    view = await root.secrets.remove(name, force=force)
    root.changed()
    return view
