"""UDP sockets of a stage: messages in, by a thread of their own, and messages out.

Belongs here: sockets, their buffers and pacing. Does not belong here: what messages mean.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from ar.wire import Address, Message, Reassembly, chunks

BUFFER_BYTES = 4 * 1024 * 1024  # asked of the kernel, which may give less
# A frame in one burst overruns the buffers of relays and receivers that are granted little.
BURST_BYTES = 96 * 1024
PAUSE_S = 0.0005


class Inbox:
    """Receives on an address and hands each whole message to `deliver`."""

    def __init__(self, address: Address, deliver: Callable[[Message], None]) -> None:
        self.reassembly = Reassembly()
        self._deliver = deliver
        self._socket = _socket(address)
        self._socket.settimeout(0.2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        buffer = bytearray(65_536)
        view = memoryview(buffer)
        while not self._stopped.is_set():
            try:
                length = self._socket.recv_into(buffer)
            except TimeoutError:
                continue
            message = self.reassembly.add(view[:length])
            if message is not None:
                self._deliver(message)

    def stop(self) -> None:
        """Nothing is received any more; the port is free."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()


class Outbox:
    """Sends messages from an address of this instance."""

    def __init__(self, bind: str, chunk_bytes: int) -> None:
        self.bind, self.chunk_bytes = bind, chunk_bytes
        self.failed = 0  # messages that the kernel did not take
        self._socket = _socket((bind, 0))
        self._lock = threading.Lock()

    def send(self, message: Message, to: Address) -> bool:
        """Send all chunks of a message; False when the kernel refused one of them."""
        burst = 0
        with self._lock:
            for chunk in chunks(message, self.chunk_bytes):
                try:
                    self._socket.sendto(chunk, to)
                except OSError:  # no route, a full buffer: a frame that is lost, like any other
                    self.failed += 1
                    return False
                burst += len(chunk)
                if burst >= BURST_BYTES:
                    burst = 0
                    time.sleep(PAUSE_S)
        return True

    def reopen(self) -> None:
        """Send from another port: for a relay this is a new flow, to another instance maybe."""
        with self._lock:
            self._socket.close()
            self._socket = _socket((self.bind, 0))

    def close(self) -> None:
        """Send no more."""
        with self._lock:
            self._socket.close()


def _socket(address: Address) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"{address[0]}:{address[1]}/udp: {error.strerror}") from error
    return opened
