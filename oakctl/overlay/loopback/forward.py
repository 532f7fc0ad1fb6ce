"""The relay at work: follow the file, keep the listeners, say how it stands.

Belongs here: signals, the tick, the status file. Does not belong here: the command line
(`relay`), what the file means (`table`), carrying (`tcp`, `udp`).
"""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

from oakctl.overlay.loopback import files, table
from oakctl.overlay.loopback.loop import Loop
from oakctl.overlay.loopback.tcp import TcpListener
from oakctl.overlay.loopback.udp import UdpListener

log = logging.getLogger("oakctl.relay")

TICK_S = 1.0


class Relay:
    """All listeners of one host. Needs nobody but the file; keeps on when that is spoilt."""

    def __init__(self, state: Path, number: int) -> None:
        self._files = files.RelayFiles(state)
        self._number = number
        self._source = f"127.{number}.0.1"  # targets see which host a flow comes from
        self._listeners: dict[table.Key, TcpListener | UdpListener] = {}
        self._error = ""
        self._loads = 0
        self._loop = Loop()
        self._written: dict[str, Any] = {}

    def run(self) -> None:
        """Forward until SIGTERM or SIGINT; SIGHUP reads the file again. Raises AnotherRelay."""
        # Before the pid file is there: who finds it may signal at once.
        self._loop.on_signals(
            {
                signal.SIGTERM: self._loop.stop,
                signal.SIGINT: self._loop.stop,
                signal.SIGHUP: self.load,
            }
        )
        try:
            lock = files.claim(self._files.pid)
            try:
                self.load()
                self._loop.run(self._tick, TICK_S)
                log.info("ends")
            finally:
                self._end(lock)
        finally:
            self._loop.close()

    def _end(self, lock: int) -> None:
        for carrier in self._listeners.values():
            carrier.close()
        self._files.status.unlink(missing_ok=True)
        os.ftruncate(lock, 0)
        os.close(lock)

    def load(self) -> None:
        """Follow the file as it is now; one that cannot be understood changes nothing."""
        self._loads += 1
        try:
            listeners = table.parse(self._files.table.read_text(encoding="utf-8"), self._number)
        except FileNotFoundError:
            self._error = "" if not self._listeners else "the table is gone; going on without it"
        except (table.Malformed, OSError, UnicodeDecodeError) as error:
            self._error = f"{self._files.table}: {error}"
        else:
            self._error = ""
            self._follow(listeners)
        if self._error:
            log.warning("%s", self._error)
        self._tell()

    def _follow(self, listeners: tuple[table.Listener, ...]) -> None:
        before = {key: carrier.listener for key, carrier in self._listeners.items()}
        todo = table.difference(before, listeners)
        for key in todo.closed:
            self._listeners.pop(key).close()
        for listener in todo.changed:
            self._listeners[listener.key].change(listener)
        for listener in todo.opened:
            kind = TcpListener if listener.key.protocol == "tcp" else UdpListener
            self._listeners[listener.key] = kind(self._loop, listener, self._source)
        log.info(
            "table read: %d listeners, %d new, %d changed, %d closed",
            len(self._listeners), len(todo.opened), len(todo.changed), len(todo.closed),
        )  # fmt: skip

    def _tick(self) -> None:
        now = self._loop.time()
        for carrier in self._listeners.values():
            carrier.tick(now)
        self._tell()

    def _tell(self) -> None:
        """Write the status where it has changed."""
        status = {
            "pid": os.getpid(),
            "number": self._number,
            "loads": self._loads,
            "error": self._error,
            "listeners": [_state(self._listeners[key]) for key in sorted(self._listeners)],
        }
        if status == self._written:
            return
        try:
            files.write_json(self._files.status, status)
        except OSError as error:  # a full disk must not stop what is being carried
            log.warning("cannot write %s: %s", self._files.status, error)
            return
        self._written = status


def _state(carrier: TcpListener | UdpListener) -> dict[str, Any]:
    listener, active = carrier.listener, carrier.active()
    return {
        "service": listener.service,
        "address": listener.key.address,
        "port": listener.key.port,
        "protocol": listener.key.protocol,
        "policy": listener.policy,
        "listening": carrier.listening,
        "error": carrier.error,
        "flows": sum(active.values()),
        "total": carrier.total,
        "dropped": carrier.dropped if isinstance(carrier, UdpListener) else 0,
        "targets": [
            {
                "instance": target.instance,
                "address": target.endpoint[0],
                "port": target.endpoint[1],
                "takes_new": target.takes_new,
                "flows": active[target.endpoint],
            }
            for target in listener.targets
        ],
    }
