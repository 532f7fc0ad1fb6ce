"""Finding, starting and hosting the root process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from oakctl.client import process
from oakctl.client.root import RootClient
from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model import wire
from oakctl.model.views import RootStatus

# What `oakctl serve` does, without the command line; it must understand `--keep`.
SERVE = (
    sys.executable,
    "-c",
    "import sys; from oakctl.api.serve import run; sys.exit(run('--keep' in sys.argv, 0.2))",
)
NEVER = (sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(5)")
DEADLINE_S = 120.0


async def gone() -> None:
    """Wait until no root answers any more."""
    async with asyncio.timeout(DEADLINE_S):
        while await process.running_root() is not None:
            await asyncio.sleep(0.05)


async def test_without_a_root_every_call_says_how_to_start_one() -> None:
    async with RootClient() as root:
        with pytest.raises(Unreachable, match="no root answers") as error:
            await root.status()
        assert error.value.hint == "oakctl serve"
    assert await process.running_root() is None


async def test_a_hosted_root_lives_as_long_as_the_block() -> None:
    async with process.hosted_root(command=SERVE) as status:
        assert status.pid != os.getpid()
        async with process.hosted_root(command=SERVE) as again:
            assert again.pid == status.pid
        assert (await process.ensure_root(command=SERVE)).pid == status.pid
    assert await process.running_root() is None
    assert process.log_file().stat().st_mode & 0o777 == 0o600


async def test_two_calls_at_once_start_one_root() -> None:
    first, second = await asyncio.gather(
        process.ensure_root(keep=True, command=SERVE),
        process.ensure_root(keep=True, command=SERVE),
    )
    assert first.pid == second.pid
    async with RootClient() as root:
        await root.shutdown()
    await gone()


async def test_one_in_the_background_leaves_when_idle() -> None:
    await process.ensure_root(command=SERVE)
    # Asking keeps it busy, so its socket is what tells.
    async with asyncio.timeout(DEADLINE_S):
        while process.paths.root_socket().exists():
            await asyncio.sleep(0.05)


async def test_one_that_fails_to_start_shows_its_last_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "OTHER_ROOT_S", 0.0)
    command = (sys.executable, "-c", "raise SystemExit('no disk')")
    with pytest.raises(OakError, match="ended at once") as error:
        await process.ensure_root(command=command, timeout_s=60)
    assert error.value.details == ("no disk",)


async def test_one_that_never_answers_is_given_up() -> None:
    with pytest.raises(DeadlineExceeded, match="has not answered within"):
        await process.ensure_root(command=NEVER, timeout_s=0.2)


async def test_one_that_takes_long_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TELL_EVERY_S", 0.01)
    lines: asyncio.Queue[str] = asyncio.Queue()
    starting = asyncio.create_task(process.ensure_root(command=NEVER, told=lines.put_nowait))
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(2):
            assert str(process.log_file()) in await lines.get()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


async def test_another_one_that_listens_has_its_time_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "OTHER_ROOT_S", 0.0)
    left = tmp_path / "left"
    command = (sys.executable, "-c", f"open({str(left)!r}, 'w'); raise SystemExit(6)")
    other = RootStatus("1", 17, 0.0, "", 0, 0, 0, 0, 0)
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += left.exists()
        if asked > 10:  # ours left long ago
            body = wire.encode(other)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    process.paths.private_directory(process.paths.state_directory())
    async with await asyncio.start_unix_server(serve, str(process.paths.root_socket())):
        async with asyncio.timeout(DEADLINE_S):
            assert await process.ensure_root(command=command) == other
