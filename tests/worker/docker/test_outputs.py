"""What containers say, each line once."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.docker import (
    outputs,
    seen,
)
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.outputs import Mark, Outputs
from oakctl.orchestration.worker.files import InstanceFiles
from tests.worker.docker.parts import NAME
from tests.worker.stage import until

stamps = st.lists(st.integers(0, 4), max_size=30).map(sorted)


@given(stamps, st.lists(st.integers(1, 30), max_size=6))
def test_every_line_is_taken_once(times: list[int], looks: list[int]) -> None:
    """Each look sees all lines from the second of the last one on, as Docker gives them."""
    said = [
        f"2026-01-01T00:00:0{time}.000000000Z line {number}\n".encode()
        for number, time in enumerate(times)
    ]
    mark, text = Mark("c"), b""
    for upto in [*sorted(looks), len(said)]:
        since = seen.seconds(mark.at)
        visible = [line for line in said[:upto] if seen.seconds(line[:30].decode()) >= int(since)]
        fresh, mark = outputs.new_lines(visible, mark)
        text += fresh
    assert text == b"".join(line.partition(b" ")[2] for line in said)


class Said:
    """An engine as far as output goes: what each container has said, given out when it may be."""

    def __init__(self, **lines: str) -> None:
        self.lines = lines
        self.go = {container: threading.Event() for container in lines}
        self.asked: list[str] = []

    def logs(self, container: str, since: float) -> list[bytes]:
        self.asked.append(container)
        assert self.go[container].wait(30)
        return [
            f"2026-01-01T00:00:00.{number:09}Z {line}\n".encode()
            for number, line in enumerate(self.lines[container].split())
        ]


def outputs_of(engine: Said, folder: Path) -> tuple[Outputs, Path]:
    driver = Driver(str(folder / "none"), "/p", lambda: None)
    driver.engine = engine  # type: ignore[assignment]
    files = InstanceFiles(str(folder))
    files.directory(NAME).mkdir(parents=True, exist_ok=True)
    return Outputs(files, driver), files.log(NAME).path


def container(id_: str, epoch: int, attempt: int) -> seen.Seen:
    return seen.Seen(id_, seen.Key(NAME, epoch, attempt), "running")


async def test_a_late_look_at_an_earlier_container_adds_nothing(tmp_path: Path) -> None:
    engine = Said(first="one two", second="three four")
    taken, log = outputs_of(engine, tmp_path)
    first, second = container("first", 1, 1), container("second", 1, 2)
    looks = [asyncio.ensure_future(taken.collect(first)) for _ in range(2)]
    await until(lambda: engine.asked == ["first"], "the first look")
    looks.append(asyncio.ensure_future(taken.collect(second)))
    engine.go["second"].set()
    engine.go["first"].set()
    await asyncio.gather(*looks)
    for one in (first, second, first, second):
        await taken.collect(one)
    assert log.read_text().split() == ["one", "two", "three", "four"]


class Killed(BaseException):
    """The agent's end, in the middle of something."""


@pytest.mark.parametrize("moment", [1, 2, 3])
async def test_an_agent_killed_before_it_has_noted_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    engine = Said(first="one two")
    engine.go["first"].set()
    writes = 0

    def note(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == moment:
            raise Killed
        replace_file(path, content)

    replace_file = storage.replace_file
    monkeypatch.setattr(storage, "replace_file", note)
    for _ in range(2):
        taken, log = outputs_of(engine, tmp_path)
        with contextlib.suppress(Killed):
            await taken.collect(container("first", 1, 1))
    assert log.read_text().split() == ["one", "two"]


async def test_an_instance_that_was_forgotten_begins_anew(tmp_path: Path) -> None:
    engine = Said(old="one", new="two")
    for go in engine.go.values():
        go.set()
    taken, log = outputs_of(engine, tmp_path)
    await taken.collect(container("old", 5, 1))
    shutil.rmtree(log.parent.parent)
    log.parent.mkdir(parents=True)
    await taken.collect(container("new", 1, 1))
    assert log.read_text().split() == ["two"]
