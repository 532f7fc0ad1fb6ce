"""Connections to a service: accept, find a target that answers, hand both ends on.

Does not belong here: which target (`table`), what happens then (`carry`), datagrams (`udp`).
"""

from __future__ import annotations

import logging
import socket
from collections import Counter

from oakctl.overlay.loopback.carry import Connection, reset
from oakctl.overlay.loopback.loop import Loop
from oakctl.overlay.loopback.table import Endpoint, Listener, Turns

log = logging.getLogger("oakctl.relay")

CONNECT_TIMEOUT_S = 3.0
ACCEPTED_AT_ONCE = 32
BACKLOG = 512
# Linux: choose the local port when connecting, so that it has to be unique per target only.
IP_BIND_ADDRESS_NO_PORT = 24


class TcpListener:
    """One service address and port. It listens only while there is a target: a client of a
    service without one is refused at once instead of being left to wait.
    """

    def __init__(self, loop: Loop, listener: Listener, source: str) -> None:
        self.listener = listener
        self.error = ""
        self.total = 0
        self.loop = loop
        self._source = source
        self._turns = Turns()
        self._socket: socket.socket | None = None
        self._flows: set[Connection] = set()
        self._connecting: set[_Connecting] = set()
        self._paused = False
        self.retry()

    @property
    def listening(self) -> bool:
        """Whether clients can connect."""
        return self._socket is not None

    def active(self) -> Counter[Endpoint]:
        """Connections to each target now."""
        return Counter(flow.endpoint for flow in self._flows)

    def change(self, listener: Listener) -> None:
        """Follow new targets; connections to targets that left are reset."""
        self.listener = listener
        self._turns.forget(listener)
        for flow in [f for f in self._flows if not listener.has(f.endpoint)]:
            flow.abort()
        self.retry()

    def retry(self) -> None:
        """Listen, or cease to, as there are targets or not; why it cannot is in `error`."""
        if not self.listener.open:
            self._stop_listening()
            self.error = ""
        elif self._socket is None:
            try:
                self._socket = _listen(self.listener.key[:2])
            except OSError as error:
                self._report(f"cannot listen: {error.strerror}")
                return
            self.error = ""
            self.loop.add_reader(self._socket, self._accept)

    def tick(self, now: float) -> None:
        """Try again what failed and give up waiting for targets that do not answer."""
        self.retry()
        if self._paused and self._socket is not None:
            self._paused = False
            self.loop.add_reader(self._socket, self._accept)
        for attempt in list(self._connecting):
            attempt.expire(now)

    def close(self) -> None:
        """End everything; connections are reset."""
        self._stop_listening()
        for attempt in list(self._connecting):
            attempt.abort()
        for flow in list(self._flows):
            flow.abort()

    def _stop_listening(self) -> None:
        if self._socket is not None:
            self.loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._paused = False

    def _report(self, error: str) -> None:
        if error != self.error:
            self.error = error
            log.warning("%s: %s:%d/%s: %s", self.listener.service, *self.listener.key, error)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if self._socket is None:
                return
            try:
                client, (address, _) = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            client.setblocking(False)
            attempt = _Connecting(self, client, address)
            self._connecting.add(attempt)
            attempt.go_on()

    def _pause(self, error: OSError) -> None:
        # Out of descriptors: the waiting client would wake us again and again until the tick.
        self._report(f"cannot accept: {error.strerror}")
        if self._socket is not None:
            self.loop.remove_reader(self._socket)
            self._paused = True

    def next_target(self, tried: set[Endpoint], client: str) -> Endpoint | None:
        """Where the next connection goes, leaving out `tried`."""
        return self._turns.next(self.listener, tried, client)

    def begin(self, endpoint: Endpoint) -> socket.socket | None:
        """A socket on its way to `endpoint`, or None when it is refused at once."""
        try:
            target = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._report(f"cannot connect: {error.strerror}")
            return None
        try:
            target.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            target.bind((self._source, 0))
            target.connect(endpoint)
        except BlockingIOError:
            pass  # on its way
        except OSError:
            target.close()
            return None
        return target

    def ended(self, attempt: _Connecting) -> None:
        """`attempt` is over, whatever came of it."""
        self._connecting.discard(attempt)

    def join(self, client: socket.socket, target: socket.socket, endpoint: Endpoint) -> None:
        """Carry between a client and its target from now on."""
        self.total += 1
        self.error = ""
        self._flows.add(Connection(self.loop, client, target, endpoint, self._flows))


class _Connecting:
    """A client that waits for a target; each that refuses is passed over."""

    def __init__(self, listener: TcpListener, client: socket.socket, address: str) -> None:
        self._listener = listener
        self._address = address
        self._client = client
        self._target: socket.socket | None = None
        self._tried: set[Endpoint] = set()
        self._endpoint: Endpoint = ("", 0)
        self._deadline = 0.0

    def go_on(self) -> None:
        """Try the next target; with none left the client is reset."""
        while True:
            endpoint = self._listener.next_target(self._tried, self._address)
            if endpoint is None:
                self.abort()
                return
            self._tried.add(endpoint)
            target = self._listener.begin(endpoint)
            if target is not None:
                break
        self._target, self._endpoint = target, endpoint
        self._deadline = self._listener.loop.time() + CONNECT_TIMEOUT_S
        self._listener.loop.add_writer(target, self._answered)

    def expire(self, now: float) -> None:
        """Pass over a target that has not answered in time."""
        if self._target is not None and now >= self._deadline:
            self._drop()
            self.go_on()

    def abort(self) -> None:
        """Give up."""
        self._drop()
        reset(self._client)
        self._listener.ended(self)

    def _answered(self) -> None:
        assert self._target is not None
        refused = self._target.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused or not self._listener.listener.has(self._endpoint):  # or it left meanwhile
            self._drop()
            self.go_on()
            return
        target, self._target = self._target, None
        self._listener.loop.remove_writer(target)
        self._listener.ended(self)
        self._listener.join(self._client, target, self._endpoint)

    def _drop(self) -> None:
        if self._target is not None:
            self._listener.loop.remove_writer(self._target)
            self._target.close()
            self._target = None


def _listen(endpoint: Endpoint) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Our own connections that ended a moment ago do not bar us; a stranger's listener does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(endpoint)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
