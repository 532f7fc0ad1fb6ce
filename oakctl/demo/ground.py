"""What the demonstration stands on: which lab, and how an instance in it is looked at from here.

Belongs here: what differs between kinds of labs. Does not belong here: what is done (`runner`).
"""

from __future__ import annotations

from collections.abc import Callable

from oakctl.lab import loopback
from oakctl.lab.loopback import DEMO_HOSTS, Lab
from oakctl.lab.namespaces.layout import DEMO_PLAN
from oakctl.model.views import InstanceView
from oakctl.remote.target import Target
from oakctl.remote.tunnel import Tunnel

LOOPBACK, NAMESPACES = "loopback", "namespaces"
OPEN_S = 10.0
# What the example's pieces of a picture may have in one datagram: on a network they have to fit.
LOOPBACK_PIECES, NETWORK_PIECES = "AR_CHUNK_BYTES=32000", "AR_CHUNK_BYTES=1200"


class Ground:
    """A kind of lab; `close` ends what was opened to look into it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._lab: Lab | None = None
        self._ways: dict[tuple[str, str, int], Tunnel] = {}

    async def up(self, name: str, progress: Callable[[str], None]) -> Lab:
        """Make the lab. Raises as `loopback.up` does."""
        network = DEMO_PLAN if self.kind == NAMESPACES else None
        self._lab = await loopback.up(name, DEMO_HOSTS, progress, network=network)
        return self._lab

    def descriptor(self, text: str) -> str:
        """The application's, as it is right for this network."""
        fits = self.kind == NAMESPACES
        return text.replace(LOOPBACK_PIECES, NETWORK_PIECES) if fits else text

    async def reach(self, instance: InstanceView, port: int) -> str:
        """ "ADDRESS:PORT" that leads from here to a port of an instance. Raises OakError.

        The network of light hosts is their own: the way goes through SSH to the instance's host.
        """
        if self.kind == LOOPBACK or self._lab is None:
            return f"{instance.bind}:{port}"
        key = (f"{instance.cluster}-{instance.worker}", instance.bind, port)
        if key not in self._ways:
            self._ways[key] = Tunnel(Target.of(self._lab.host(key[0])), instance.bind, port)
            await self._ways[key].start()
        await self._ways[key].wait_connected(OPEN_S)
        return f"127.0.0.1:{self._ways[key].local_port}"

    async def close(self) -> None:
        """Let the ways go."""
        ways, self._ways = self._ways, {}
        for way in ways.values():
            await way.close()
