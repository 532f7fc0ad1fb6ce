"""The typed client of grants: who is let in to a cluster of ours, and clusters that let us in.

Belongs here: the requests. Does not belong here: access files on the disk (`cli.cluster_grant`).
"""

from __future__ import annotations

import json

from oakctl.client.connection import Connection, part
from oakctl.model import wire
from oakctl.model.requests import GrantRequest
from oakctl.model.roots import AccessFile, RootSummary
from oakctl.model.views import OperationView


class GrantsClient:
    """Part of `RootClient`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self, cluster: str) -> tuple[RootSummary, ...]:
        """The roots that were let in; NotFound, or Conflict for a cluster that is another's."""
        body = await self._connection.call("GET", _path(cluster))
        return tuple(wire.from_plain(item, RootSummary) for item in json.loads(body))

    async def grant(self, cluster: str, request: GrantRequest) -> OperationView:
        """Begin to let a root in."""
        return await self._operation("POST", _path(cluster), request)

    async def fetch(self, cluster: str, name: str) -> AccessFile:
        """What the other operator is handed; given once. NotFound."""
        body = await self._connection.call("POST", f"{_path(cluster)}/{part(name)}/access")
        return wire.decode(body, AccessFile)

    async def revoke(self, cluster: str, name: str, *, keep_running: bool) -> OperationView:
        """Begin to throw a root out."""
        query = {"keep_running": "true"} if keep_running else {}
        path = f"{_path(cluster)}/{part(name)}"
        body = await self._connection.call("DELETE", path, query=query)
        return wire.decode(body, OperationView)

    async def join(self, given: AccessFile) -> OperationView:
        """Begin to use a cluster that is another operator's."""
        return await self._operation("POST", "/v1/cluster-accesses", given)

    async def _operation(self, method: str, path: str, request: object) -> OperationView:
        return wire.decode(await self._connection.call(method, path, request), OperationView)


def _path(cluster: str) -> str:
    return f"/v1/clusters/{part(cluster)}/grants"
