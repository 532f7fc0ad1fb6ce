"""The relay's event loop: callbacks for sockets, signals and a tick, in one thread.

The standard library's asyncio would do, at a quarter more memory (it brings TLS, subprocesses
and threads), on every worker, for nothing that forwarding needs. Whatever a callback raises ends
the process: its supervisor starts it again and it goes on from its file. Does not belong here:
what the callbacks do.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping

Callback = Callable[[], None]


class _Watch:
    """Who wants to know of one socket. A new one for each time it is registered."""

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader: Callback | None = None
        self.writer: Callback | None = None

    @property
    def events(self) -> int:
        reading = selectors.EVENT_READ if self.reader else 0
        return reading | (selectors.EVENT_WRITE if self.writer else 0)


class Loop:
    """Sockets are non-blocking, watched level-triggered, and let go before they are closed."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watches: dict[int, _Watch] = {}
        self._stopped = False
        self._signals: dict[int, Callback] = {}
        self._woken, self._wakes = socket.socketpair()
        self._woken.setblocking(False)
        self._wakes.setblocking(False)

    @staticmethod
    def time() -> float:
        """Seconds, by a clock that only goes forward."""
        return time.monotonic()

    def add_reader(self, sock: socket.socket, callback: Callback) -> None:
        """Call whenever something can be received or accepted."""
        self._watch(sock).reader = callback
        self._update(sock.fileno())

    def remove_reader(self, sock: socket.socket) -> None:
        """Cease to; unknown: no change."""
        watch = self._watches.get(sock.fileno())
        if watch is not None:
            watch.reader = None
            self._update(sock.fileno())

    def add_writer(self, sock: socket.socket, callback: Callback) -> None:
        """Call whenever something can be sent."""
        self._watch(sock).writer = callback
        self._update(sock.fileno())

    def remove_writer(self, sock: socket.socket) -> None:
        """Cease to; unknown: no change."""
        watch = self._watches.get(sock.fileno())
        if watch is not None:
            watch.writer = None
            self._update(sock.fileno())

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped = True

    def on_signals(self, callbacks: Mapping[int, Callback]) -> None:
        """Have signals handled by `run`, whenever that begins, and no longer by default."""
        self._signals = dict(callbacks)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in callbacks:
            # The number arrives at `_woken`; this only keeps the default from happening.
            signal.signal(number, lambda *_: None)
        self.add_reader(self._woken, self._signalled)

    def run(self, tick: Callback, every_s: float) -> None:
        """Dispatch until `stop`: sockets as they come, `tick` every `every_s` seconds."""
        due = self.time() + every_s
        while not self._stopped:
            self._dispatch(max(0.0, due - self.time()))
            if self.time() >= due:
                tick()
                due = self.time() + every_s

    def close(self) -> None:
        """Give everything of the loop's own back; signals have their default effect again."""
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        self._woken.close()
        self._wakes.close()

    def _signalled(self) -> None:
        for number in self._woken.recv(64):
            if number in self._signals:
                self._signals[number]()

    def _dispatch(self, timeout_s: float) -> None:
        # A callback may let go of a socket whose turn is still to come, and a new socket may get
        # its number: the watch tells them apart.
        for key, mask in self._selector.select(timeout_s):
            watch: _Watch = key.data
            if mask & selectors.EVENT_READ and watch.reader and self._is_current(key.fd, watch):
                watch.reader()
            if mask & selectors.EVENT_WRITE and watch.writer and self._is_current(key.fd, watch):
                watch.writer()

    def _is_current(self, fd: int, watch: _Watch) -> bool:
        return self._watches.get(fd) is watch

    def _watch(self, sock: socket.socket) -> _Watch:
        return self._watches.setdefault(sock.fileno(), _Watch())

    def _update(self, fd: int) -> None:
        watch = self._watches[fd]
        known = fd in self._selector.get_map()
        if not watch.events:
            del self._watches[fd]
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, watch.events, watch)
        else:
            self._selector.register(fd, watch.events, watch)
