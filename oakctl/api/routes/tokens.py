"""Tokens by which machines become workers without SSH."""

from __future__ import annotations

from fastapi import APIRouter

from oakctl.api.routes.access import RootOf
from oakctl.model.tokens import JoinFile, TokenRequest, TokenSummary

router = APIRouter(prefix="/v1", tags=["tokens"])


@router.get("/clusters/{cluster}/tokens")
async def tokens(root: RootOf, cluster: str) -> list[TokenSummary]:
    """The tokens of the last day, used and ended ones too."""
    return [*await root.tokens.listed(cluster)]


@router.post("/tokens", status_code=201)
async def make(root: RootOf, request: TokenRequest) -> JoinFile:
    """Have a token made: given once, and forgotten here."""
    return await root.tokens.make(request)
