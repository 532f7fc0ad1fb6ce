"""A Docker that takes its time: what is slow is waited for, what hangs is not."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from oakctl.orchestration.worker.docker import engine
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway

SLOWLY_S = 1.5


class Slow(BaseHTTPRequestHandler):
    """Answers at once what it is; anything about containers only after a while."""

    protocol_version = "HTTP/1.1"
    ending = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self._answer({"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64"})
        elif self.path.endswith("/info"):
            self._answer({"NCPU": 1})
        else:
            self._later([])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._later({"Id": "made"})

    def _later(self, said: object) -> None:
        self.ending.wait(SLOWLY_S)
        self._answer(said)

    def _answer(self, said: object) -> None:
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


@pytest.fixture
def slow_docker(tmp_path: Path) -> Iterator[str]:
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that did not wait

    path = tmp_path / "docker.sock"
    with Server(str(path), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield str(path)
        server.shutdown()
        thread.join(timeout=10)


def test_creating_and_starting_may_take_longer_than_a_look(
    slow_docker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CALL_S", SLOWLY_S / 5)
    patient = Engine(slow_docker)
    assert patient.create("name", {}) == "made"
    patient.start("made")
    with pytest.raises(EngineAway, match="does not answer"):
        patient.containers("/prefix")
    patient.close()
