"""A Docker that takes its time: what is slow is waited for, what hangs is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.orchestration.worker.docker import engine
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway
from tests.worker.docker.false_docker import FalseDocker, served

SLOWLY_S = 1.5


class Slow(FalseDocker):
    """Answers at once what it is; anything about containers only after a while."""

    protocol_version = "HTTP/1.1"
    ending = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self.answer({"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64"})
        elif self.path.endswith("/info"):
            self.answer({"NCPU": 1})
        else:
            self._later([])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._later({"Id": "made"})

    def _later(self, said: object) -> None:
        self.ending.wait(SLOWLY_S)
        self.answer(said)


@pytest.fixture
def slow_docker(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path, Slow) as socket:
        yield str(socket)


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
