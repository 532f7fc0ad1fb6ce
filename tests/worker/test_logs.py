"""Logs: bounded, and read by offsets that survive rotation."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.instance import DesiredInstance, InstanceState
from oakctl.model.messages import LogsRequest
from oakctl.orchestration.worker import logs, record
from oakctl.orchestration.worker.log_service import LogService
from oakctl.orchestration.worker.logs import InstanceLog
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"


def append(log: InstanceLog, data: bytes) -> None:
    with log.path.open("ab") as stream:
        stream.write(data)


def everything(log: InstanceLog, offset: int, limit: int = 7) -> tuple[str, int]:
    text = ""
    while True:
        piece = log.read(offset, limit)
        if piece.next_offset == offset:
            return text, offset
        text, offset = text + piece.text, piece.next_offset


@given(st.lists(st.one_of(st.just(b""), st.binary(max_size=30)), max_size=25))
def test_offsets_survive_rotation_and_restart(pieces: list[bytes]) -> None:
    """An empty piece stands for a new agent."""
    with tempfile.TemporaryDirectory() as directory:
        log = InstanceLog(Path(directory), largest=16)
        written, followed, offset = b"", "", 0
        for piece in pieces:
            data = piece.hex().encode()
            if not piece:
                log = InstanceLog(Path(directory), largest=16)
            append(log, data)
            written += data
            text, offset = everything(log, offset)
            followed += text
            log.rotate()
            assert log.end == len(written)
        assert followed == written.decode()
        for start in range(max(0, len(written) - 16), len(written)):
            assert everything(log, start)[0] == written[start:].decode()
        sizes = [p.stat().st_size for p in Path(directory).glob("rotated.*")]
        assert len(sizes) <= 1
        assert sum(sizes) <= 16


def test_tail_old_and_strange_offsets(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, largest=10)
    assert log.read(0, 100).text == ""
    append(log, b"0123456789abcdef")
    assert log.rotate()
    append(log, b"XY")
    assert log.read(-3, 100) == logs.Piece("f", 16)
    assert log.read(0, 100) == logs.Piece("6789abcdef", 16)
    assert log.read(999, 4) == logs.Piece("6789", 10)
    assert log.read(16, 100) == logs.Piece("XY", 18)


def test_characters_are_not_cut(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path)
    append(log, "ä€😀".encode()[:-2])
    assert log.read(0, 100) == logs.Piece("ä€", 5)
    assert log.read(0, 4) == logs.Piece("ä", 2)
    assert log.read(5, 100, final=True) == logs.Piece("�", 7)
    append(log, "😀".encode()[-2:] + b"\xff!")
    assert log.read(5, 100).text == "😀�!"


def test_interrupted_rotation_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = InstanceLog(tmp_path, largest=10)
    append(log, b"0123456789")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(logs.os, "truncate", killed)
        with pytest.raises(KeyboardInterrupt):
            log.rotate()
    log = InstanceLog(tmp_path, largest=10)
    assert (log.end, log.read(0, 100).text) == (10, "0123456789")
    assert log.rotate()
    append(log, b"ab")
    assert everything(log, 0) == ("0123456789ab", 12)


async def test_waiting_reader_is_answered_when_there_is_more(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path)
    known = record.new(DesiredInstance(spec("x"), 0, 1, "10.18.0.2"), 0.0)
    service = LogService({NAME: known}.get, lambda _: log)
    waiting = asyncio.ensure_future(service.answer(LogsRequest(NAME, 0, wait_s=20)))
    await asyncio.sleep(0)
    assert not waiting.done()
    append(log, b"news\n")
    answer = await waiting
    assert (answer.data, answer.next_offset, answer.ended) == ("news\n", 5, False)
    answer = await service.answer(LogsRequest(NAME, 5))
    assert (answer.data, answer.ended) == ("", False)
    ended = record.stopping(known, 1.0)
    service = LogService({NAME: ended}.get, lambda _: log)
    assert (await service.answer(LogsRequest(NAME, 5, wait_s=20))).ended


async def test_real_log_is_bounded_and_followed(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    program = (
        "import time\nline = 'x' * 1023\nfor n in range(5000):\n  print(f'{n:08d}{line[8:]}')\n"
        "print('end', flush=True)\ntime.sleep(600)\n"
    )
    sha, content = artifact(program)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha)))
    await orchestrator.reaches(NAME, InstanceState.RUNNING)
    directory = agent.instance(NAME) / "log"
    await until(lambda: list(directory.glob("rotated.*")), "the log to be rotated")
    await until(lambda: (directory / "log").stat().st_size < logs.LARGEST, "the log to be short")
    tail = await orchestrator.logs(NAME, -4)
    assert tail.next_offset == 5000 * 1024 + 4
    text, offset = "", 0
    while not text.endswith("end\n"):
        answer = await orchestrator.logs(NAME, offset, wait_s=5)
        text, offset = text + answer.data, answer.next_offset
    assert logs.LARGEST <= len(text) <= 2 * logs.LARGEST
    numbers = [int(line[:8]) for line in text.splitlines()[1:-1]]
    assert numbers == list(range(numbers[0], 5000))
