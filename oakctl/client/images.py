"""The typed client of `/v1/images`.

Belongs here: requests about pushed images. Does not belong here: reading archives
(`client.image_archive`), or what a push consists of (`client.image_push`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from oakctl.client.connection import Connection
from oakctl.model import wire
from oakctl.model.images import Layer
from oakctl.model.requests import ImagePush, ImageSend, LayersQuestion
from oakctl.model.views import ImageProgress, ImageView


class ImagesClient:
    """Part of `RootClient`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self) -> tuple[ImageView, ...]:
        """Every image that was pushed."""
        body = await self._connection.call("GET", "/v1/images")
        return tuple(wire.from_plain(item, ImageView) for item in json.loads(body))

    async def known_layers(self, diff_ids: Sequence[str]) -> tuple[Layer, ...]:
        """Those of these layers that the root has, from whichever image."""
        question = LayersQuestion(tuple(diff_ids))
        body = await self._connection.call("POST", "/v1/images/layers", question)
        return tuple(wire.from_plain(item, Layer) for item in json.loads(body))

    async def put(self, push: ImagePush) -> ImageView:
        """Give an image its name; NotFound when a blob of it was not uploaded."""
        return wire.decode(await self._connection.call("POST", "/v1/images", push), ImageView)

    async def remove(self, name: str) -> ImageView:
        """Forget an image; NotFound, or Conflict while a service uses it."""
        body = await self._connection.call("DELETE", "/v1/images", query={"name": name})
        return wire.decode(body, ImageView)

    async def send(self, name: str, cluster: str) -> AsyncGenerator[ImageProgress, None]:
        """Bring an image to a cluster; the last that is told says that it is there."""
        lines = self._connection.lines(
            "/v1/images/send", method="POST", body=ImageSend(name, cluster)
        )
        async with aclosing(lines):
            async for line in lines:
                yield wire.from_plain(line, ImageProgress)
