"""The plain supervisor's client, against a socket that answers as the supervisor does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oakctl.errors import Conflict, OakError, Unreachable, UsageError
from oakctl.model.config import Unit
from oakctl.node import __main__, unit

RUNNING = {"agent": {"state": "running", "pid": 7, "restarts": 0, "since": 1.0, "exit_code": None}}


@dataclass
class Supervisor:
    """Answers each connection with `answer`."""

    path: Path
    answer: bytes = json.dumps({"ok": True, "units": RUNNING}).encode() + b"\n"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, server: socket.socket) -> None:
        """Until the socket is shut down."""
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.asked.append(json.loads(lines.readline()))
                connection.sendall(self.answer)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Listening, and named in the environment."""
    made = Supervisor(tmp_path / "s")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(made.path))
    server.listen()
    thread = threading.Thread(target=made.serve, args=(server,))
    thread.start()
    monkeypatch.setenv("OAKCTL_SUPERVISOR", f"plain:{made.path}")
    monkeypatch.setenv("OAKCTL_HOST", "h1")
    yield made
    server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=20)
    server.close()


def test_put_sends_the_unit(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "unit.json"
    file.write_text('{"name": "agent", "argv": ["python3", "x"], "environment": {"A": "b"}}')
    assert __main__.main(["unit", "put", str(file)]) == 0
    (request,) = supervisor.asked
    assert (request["op"], request["host"], request["name"]) == ("put", "h1", "agent")
    assert request["unit"]["argv"] == ["python3", "x"]
    assert request["unit"]["environment"] == {"A": "b"}
    assert json.loads(capsys.readouterr().out) == RUNNING


@pytest.mark.parametrize("operation", ["start", "stop", "restart", "remove", "status"])
def test_operations_on_a_unit(supervisor: Supervisor, operation: str) -> None:
    assert __main__.main(["unit", operation, "agent"]) == 0
    assert supervisor.asked == [{"op": operation, "host": "h1", "name": "agent"}]


def test_status_of_all(supervisor: Supervisor) -> None:
    assert unit.call("status") == RUNNING
    assert supervisor.asked[0]["name"] == ""


def test_refusal(supervisor: Supervisor, capsys: pytest.CaptureFixture[str]) -> None:
    supervisor.answer = b'{"ok": false, "error": "no unit x"}\n'
    with pytest.raises(Conflict, match="refused to start x: no unit x"):
        unit.call("start", "x")
    assert __main__.main(["unit", "start", "x"]) == 6
    assert "next: oakctl-node unit status" in capsys.readouterr().err


def test_nonsense(supervisor: Supervisor) -> None:
    for answer in (b"", b"[]\n", b"{}\n", b"hello\n"):
        supervisor.answer = answer
        with pytest.raises(OakError, match="not understood"):
            unit.call("status")


def test_no_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OAKCTL_SUPERVISOR", raising=False)
    with pytest.raises(UsageError, match="no plain supervisor"):
        unit.call("status")
    monkeypatch.setenv("OAKCTL_SUPERVISOR", f"plain:{tmp_path}/none")
    with pytest.raises(Unreachable, match="does not answer"):
        unit.call("status")


def test_bad_unit_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the unit"):
        unit.read_unit(str(tmp_path / "none"))
    file = tmp_path / "unit.json"
    file.write_text('{"argv": []}')
    with pytest.raises(UsageError, match="not a Unit"):
        unit.read_unit(str(file))
    file.write_text('{"name": "bus", "argv": ["nats-server"]}')
    assert unit.read_unit(str(file)) == Unit("bus", ("nats-server",))
