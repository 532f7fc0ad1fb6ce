"""The typed client of `/v1/secrets`.

Belongs here: requests about named secrets. Does not belong here: where a value is read from
(`cli.secret`).
"""

from __future__ import annotations

import json

from oakctl.client.connection import Connection, part
from oakctl.model import secrets, wire
from oakctl.model.requests import SecretSet
from oakctl.model.views import SecretView


class SecretsClient:
    """Part of `RootClient`. No answer has a value in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self) -> tuple[SecretView, ...]:
        """Every secret, by name."""
        body = await self._connection.call("GET", "/v1/secrets")
        return tuple(wire.from_plain(item, SecretView) for item in json.loads(body))

    async def put(
        self, name: str, content: bytes, registry: str = "", username: str = ""
    ) -> SecretView:
        """Give a secret its value; UsageError for what cannot be one, Conflict where a service
        is given it in another way."""
        asked = SecretSet(secrets.encoded(content), registry, username)
        body = await self._connection.call("PUT", f"/v1/secrets/{part(name)}", asked)
        return wire.decode(body, SecretView)

    async def remove(self, name: str, *, force: bool = False) -> SecretView:
        """Forget a secret; NotFound, or Conflict while a service is given it."""
        query = {"force": "true"} if force else {}
        body = await self._connection.call("DELETE", f"/v1/secrets/{part(name)}", query=query)
        return wire.decode(body, SecretView)
