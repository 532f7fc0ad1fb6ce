"""Datagrams: one socket per client and service, so that answers find their way back.

A flow is one client's address and port. It stays with its target while that takes flows, so
answers come from where the questions went; a client that sends from one socket for ever keeps
its target when others are added, and takes its turn anew only with a new socket or after
`IDLE_S` of silence. Does not belong here: which target (`table`), connections (`tcp`).
"""

from __future__ import annotations

import logging
import socket
from collections import Counter

from oakctl.overlay.loopback.loop import Loop
from oakctl.overlay.loopback.table import Endpoint, Listener, Turns

log = logging.getLogger("oakctl.relay")

IDLE_S = 60.0
AT_ONCE = 64  # datagrams of one socket before others have their turn
BUFFER_BYTES = 4 * 1024 * 1024  # asked for; the kernel gives at most net.core.rmem_max

# All forwarding happens in one thread, and a datagram is sent before the next is read.
_piece = bytearray(65536)
_view = memoryview(_piece)


class UdpListener:
    """One service address and port. Datagrams are dropped while there is no target."""

    def __init__(self, loop: Loop, listener: Listener, source: str) -> None:
        self.listener = listener
        self.error = ""
        self.total = 0
        self.dropped = 0
        self._loop = loop
        self._source = source
        self._turns = Turns()
        self._socket: socket.socket | None = None
        self._flows: dict[Endpoint, _Flow] = {}
        self.retry()

    @property
    def listening(self) -> bool:
        """Whether datagrams are received."""
        return self._socket is not None

    def active(self) -> Counter[Endpoint]:
        """Flows to each target now."""
        return Counter(flow.endpoint for flow in self._flows.values())

    def change(self, listener: Listener) -> None:
        """Follow new targets: flows whose target left move with their next datagram."""
        self.listener = listener
        self._turns.forget(listener)
        for flow in self._flows.values():
            flow.moves = listener.moves(flow.endpoint)

    def retry(self) -> None:
        """Bind the address if that failed before; why it cannot is in `error`."""
        if self._socket is not None:
            return
        try:
            self._socket = _datagram_socket(self.listener.key[:2])
        except OSError as error:
            self._report(f"cannot listen: {error.strerror}")
            return
        self.error = ""
        self._loop.add_reader(self._socket, self._from_clients)

    def tick(self, now: float) -> None:
        """Try again what failed and end flows that have been silent for long."""
        self.retry()
        for client, flow in list(self._flows.items()):
            if now - flow.last > IDLE_S:
                del self._flows[client]
                flow.close()

    def close(self) -> None:
        """End everything."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()

    def answer(self, client: Endpoint, size: int) -> None:
        """Send the first `size` bytes of the piece to a client, from the service's address."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(_view[:size], client)
        except OSError:
            self.dropped += 1

    def _report(self, error: str) -> None:
        if error != self.error:
            self.error = error
            log.warning("%s: %s:%d/%s: %s", self.listener.service, *self.listener.key, error)

    def _from_clients(self) -> None:
        assert self._socket is not None
        now = self._loop.time()
        for _ in range(AT_ONCE):
            try:
                size, client = self._socket.recvfrom_into(_piece)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error of an earlier datagram, of no use to anyone
            flow = self._flow(client)
            if flow is None:
                self.dropped += 1
                continue
            flow.last = now
            if not flow.send(size):
                self.dropped += 1

    def _flow(self, client: Endpoint) -> _Flow | None:
        """The client's flow, begun or moved where needed; None when there is nowhere to go."""
        flow = self._flows.get(client)
        if flow is not None and not flow.moves:
            return flow
        endpoint = self._turns.next(self.listener, client=client[0])
        if endpoint is None:
            return None
        try:
            if flow is None:
                flow = _Flow(self._loop, self, client, endpoint, self._source)
                self._flows[client] = flow
            else:
                flow.move(endpoint)
        except OSError as error:
            self._report(f"cannot begin a flow: {error.strerror}")
            return None
        self.total += 1
        self.error = ""
        return flow


class _Flow:
    """A client's own socket towards its target."""

    __slots__ = ("_client", "_listener", "_loop", "_socket", "endpoint", "last", "moves")

    def __init__(
        self,
        loop: Loop,
        listener: UdpListener,
        client: Endpoint,
        endpoint: Endpoint,
        source: str,
    ) -> None:
        self.endpoint = endpoint
        self.moves = False  # with the next datagram, to another target
        self.last = loop.time()
        self._loop = loop
        self._listener = listener
        self._client = client
        self._socket = _datagram_socket((source, 0))
        try:
            self._socket.connect(endpoint)
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket, self._from_target)

    def move(self, endpoint: Endpoint) -> None:
        """Go to another target; answers of the former one that have arrived still go back."""
        self._socket.connect(endpoint)
        self.endpoint = endpoint
        self.moves = False

    def send(self, size: int) -> bool:
        """Send the first `size` bytes of the piece to the target; False: it was dropped."""
        for _ in range(2):
            try:
                self._socket.send(_view[:size])
                return True
            except ConnectionRefusedError:
                # This tells of an earlier datagram, and the present one was not sent.
                continue
            except OSError:
                return False
        return False

    def close(self) -> None:
        """Forget the client."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _from_target(self) -> None:
        for _ in range(AT_ONCE):
            try:
                size = self._socket.recv_into(_piece)
            except BlockingIOError:
                return
            except OSError:
                continue  # the target does not listen; the client may find out by the silence
            self.last = self._loop.time()
            self._listener.answer(self._client, size)


def _datagram_socket(endpoint: Endpoint) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        opened.bind(endpoint)
    except OSError:
        opened.close()
        raise
    return opened
