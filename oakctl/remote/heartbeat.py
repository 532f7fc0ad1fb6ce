"""Noticing that the other side of an SSH connection is gone, though nobody has hung up.

Belongs here: asking it for a sign of life, and hanging up when none comes. Does not belong here:
what then (`channels` sees a connection that ended). asyncssh does this by itself; paramiko only
sends, and would learn of a dead link from TCP after a quarter of an hour.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import paramiko

from oakctl.remote.target import KEEPALIVE_S, KEEPALIVES_MISSED

log = logging.getLogger(__name__)

REQUEST = "keepalive@openssh.com"  # what OpenSSH's own client asks; any answer will do


class Heartbeat:
    """Asks every `interval_s`, and closes the connection after `missed` without an answer."""

    def __init__(
        self,
        transport: Any,
        name: str,
        interval_s: float = KEEPALIVE_S,
        missed: int = KEEPALIVES_MISSED,
    ) -> None:
        self._transport = transport
        self._name = name
        self._interval_s = interval_s
        self._patience_s = interval_s * (missed - 1)
        self._over = threading.Event()
        self._answered = threading.Event()
        self._asked = threading.Event()
        for work in (self._ask, self._watch):
            threading.Thread(target=work, name=f"heartbeat {name}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()
        self._asked.set()

    def _ask(self) -> None:
        while not self._over.wait(self._interval_s) and self._transport.is_active():
            self._answered.clear()
            self._asked.set()
            try:
                self._transport.global_request(REQUEST, wait=True)  # returns when it ended, too
            except (OSError, EOFError, paramiko.SSHException):
                break
            self._answered.set()
        self.stop()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._asked.wait()
            self._asked.clear()
            began = time.monotonic()
            while not self._over.is_set() and not self._answered.wait(0.5):
                if time.monotonic() - began >= self._patience_s:
                    log.warning("%s: no sign of life for %.0f s", self._name, self._patience_s)
                    self._transport.close()
                    return
