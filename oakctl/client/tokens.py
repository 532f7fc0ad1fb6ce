"""The typed client of tokens by which machines become workers.

Belongs here: the requests. Does not belong here: the program made of one (`cli.worker_token`).
"""

from __future__ import annotations

import json

from oakctl.client.connection import Connection, part
from oakctl.model import wire
from oakctl.model.tokens import JoinFile, TokenRequest, TokenSummary


class TokensClient:
    """Part of `RootClient`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self, cluster: str) -> tuple[TokenSummary, ...]:
        """The tokens of the last day; NotFound, or Conflict for a cluster that is another's."""
        body = await self._connection.call("GET", f"/v1/clusters/{part(cluster)}/tokens")
        return tuple(wire.from_plain(item, TokenSummary) for item in json.loads(body))

    async def make(self, request: TokenRequest) -> JoinFile:
        """Have a token made; what comes back is given once."""
        return wire.decode(await self._connection.call("POST", "/v1/tokens", request), JoinFile)
