"""Uploads that go on where they stopped, and chunks for the workers that need them."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
from pathlib import Path

from oakctl.model import messages as m
from oakctl.model import subjects, wire
from tests.cluster.rig import Rig, Worker, spec

PIECE = 300_000


async def test_an_upload_goes_on_after_the_orchestrator_was_killed(rig: Rig) -> None:
    data = random.Random(1).randbytes(1_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    assert await _send(rig, sha256, data, 0, b"") == 0
    assert await _send(rig, sha256, data, 0, data[:PIECE]) == PIECE
    rig.end_orchestrator(signal.SIGKILL)
    rig.start_orchestrator()
    offset = await _send(rig, sha256, data, 0, b"")
    assert offset == PIECE
    assert await _send(rig, sha256, data, 7, data[7:PIECE]) == PIECE  # not where it ends
    while offset < len(data):
        offset = await _send(rig, sha256, data, offset, data[offset : offset + PIECE])
    assert await _send(rig, sha256, data, 0, b"") == len(data)

    worker = await rig.join("w1")
    body, error = await _fetch(worker, sha256, len(data))
    assert "no instance on w1 needs" in error
    assert (await rig.root.offer(spec(code=sha256))).accepted
    body, error = await _fetch(worker, sha256, len(data))
    assert error == ""
    assert body == data
    # The cache is only a cache.
    shutil.rmtree(Path(rig.bus.layout.state("artifacts")) / "cache")
    rig.end_orchestrator(signal.SIGKILL)
    rig.bus.kill()
    rig.bus.start()
    rig.start_orchestrator()
    await rig.root.full_state()
    body, error = await _fetch(worker, sha256, len(data))
    assert (body == data, error) == (True, "")


async def test_what_is_not_what_it_says_is_thrown_away(rig: Rig) -> None:
    data = b"x" * 1000
    wrong = hashlib.sha256(b"y").hexdigest()
    answer = await _piece(rig, m.Upload(wrong, len(data), 0), data)
    assert "its sha256 is" in answer.error
    assert (await _piece(rig, m.Upload(wrong, len(data), 0), b"")).next_offset == 0
    too_much = await _piece(rig, m.Upload(wrong, 10, 0), data)
    assert "more bytes" in too_much.error
    for sha256 in ("../../etc/passwd", "", "A" * 64):
        assert (await _piece(rig, m.Upload(sha256, 10, 0), b"")).error


async def test_a_missing_artifact_is_named(rig: Rig) -> None:
    worker = await rig.join("w1")
    assert (await rig.root.offer(spec(code="a" * 64))).accepted
    _, error = await _fetch(worker, "a" * 64, 10)
    assert "not in this cluster" in error
    _, error = await _fetch(worker, "../x", 10)
    assert error


async def _send(rig: Rig, sha256: str, data: bytes, offset: int, body: bytes) -> int:
    answer = await _piece(rig, m.Upload(sha256, len(data), offset), body)
    assert answer.error == ""
    return answer.next_offset


async def _piece(rig: Rig, piece: m.Upload, body: bytes) -> m.UploadAnswer:
    await rig.root.full_state()  # waits for an orchestrator that is starting
    headers = {subjects.HEADER_UPLOAD: wire.encode(piece).decode()}
    answer = await rig.root.client.request(subjects.CTL_UPLOAD, body, headers=headers, timeout=20)
    return wire.decode(answer.data, m.UploadAnswer)


async def _fetch(worker: Worker, sha256: str, size: int) -> tuple[bytes, str]:
    body = b""
    while True:
        asked = m.ChunkRequest(sha256, len(body), 400_000)
        answer = await worker.client.request("ask.w1.chunk", wire.encode(asked), timeout=20)
        headers = answer.headers or {}
        if subjects.HEADER_ERROR in headers:
            return b"", headers[subjects.HEADER_ERROR]
        assert headers[subjects.HEADER_SIZE] == str(size)
        body += answer.data
        if len(body) >= size:
            return body, ""
