"""A TCP link between two ports that is as slow as a test wants it to be."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECES_A_SECOND = 100


@dataclass
class Link:
    """`port` leads to another one on 127.0.0.1. `rate` is in bytes per second, to the server."""

    port: int
    rate: float
    stall_after: int = 0  # bytes to the server after which it stands still once ...
    stall_s: float = 0.0  # ... for so long
    carried: int = 0
    stalled: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)

    def _pause(self, piece: int) -> None:
        self.carried += piece
        time.sleep(piece / self.rate)
        if self.stall_s and not self.stalled and self.carried >= self.stall_after:
            self.stalled = True
            self.over.wait(self.stall_s)

    def _copy(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(max(1024, int(self.rate / PIECES_A_SECOND))):
                if slow:
                    self._pause(len(data))
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def link(to: int, rate: float, *, stall_after: int = 0, stall_s: float = 0.0) -> Iterator[Link]:
    """A slow link to port `to`, for as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Link(server.getsockname()[1], rate, stall_after, stall_s)
        threads: list[threading.Thread] = []

        def start(*args: object) -> None:
            threads.append(threading.Thread(target=made._copy, args=args, daemon=True))
            threads[-1].start()

        def accept() -> None:
            while True:
                try:
                    near, _ = server.accept()
                except OSError:
                    return
                # A small window: what is on its way is what the link holds, not the kernel.
                far = socket.create_connection(("127.0.0.1", to))
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                made._sockets += [near, far]
                start(near, far, True)
                start(far, near, False)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield made
        finally:
            made.over.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            for each in made._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            accepting.join(20)
            for thread in threads:
                thread.join(20)
