"""A socket at which something answers that a test has made up, in place of a Docker."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class FalseDocker(BaseHTTPRequestHandler):
    """Requests by a socket of this node; `answer` is what a method says."""

    def answer(self, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # a client that did not wait


@contextlib.contextmanager
def served(folder: Path, kind: type[FalseDocker]) -> Iterator[Path]:
    """Its socket, while it answers."""
    path = folder / "docker.sock"
    with _Server(str(path), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield path
        server.shutdown()
        thread.join(timeout=10)
