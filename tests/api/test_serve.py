"""The root process: one per state directory, its socket, its reasons to leave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from oakctl import paths
from oakctl.api import serve
from oakctl.client.root import RootClient
from oakctl.errors import Conflict, Unreachable
from tests.root.stage import answers, until

RUN = "import sys; from oakctl.api.serve import run; sys.exit(run({keep}, {idle}))"


@contextmanager
def process(keep: bool = True, idle: float = 30.0) -> Iterator[subprocess.Popen[str]]:
    """A root process of this test's state directory."""
    command = [sys.executable, "-c", RUN.format(keep=keep, idle=idle)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


async def test_sigterm_ends_it_cleanly_with_streams_open() -> None:
    with process() as child:
        async with RootClient() as root:
            await until("the root", lambda: answers(root), bool)
            assert paths.root_socket().stat().st_mode & 0o777 == 0o600
            status = await root.status()
            assert status.pid == child.pid
            assert status.rss_mb > 10

            async def follow() -> list[object]:
                try:
                    return [event async for event in root.events(follow=True)]
                except Unreachable:
                    return []

            following = asyncio.create_task(follow())
            await asyncio.sleep(0)
            child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait, 20) == 143
            await following
        assert not paths.root_socket().exists()


async def test_a_second_one_says_who_the_first_is() -> None:
    with process() as first:
        async with RootClient() as root:
            await until("the root", lambda: answers(root), bool)
            with pytest.raises(Conflict, match=f"process {first.pid} is the root") as refused:
                serve.run(True)
            assert refused.value.hint == "oakctl status"
            assert (await root.status()).pid == first.pid


def test_one_that_listens_no_more_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as leaving:
        leaving.enter_context(serve.only_one())
        monkeypatch.setattr(serve.time, "sleep", lambda _: leaving.close())
        with serve.only_one():
            assert (paths.state_directory() / "root.lock").read_text() == f"{os.getpid()}\n"


async def test_it_leaves_when_idle_and_a_kill_leaves_no_lock() -> None:
    with process() as killed:
        async with RootClient() as root:
            await until("the root", lambda: answers(root), bool)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert paths.root_socket().exists()
    with process(keep=False, idle=0.2) as child:
        assert await asyncio.to_thread(child.wait, 120) == 0
        assert not paths.root_socket().exists()


async def test_shutdown_by_a_client() -> None:
    with process() as child:
        async with RootClient() as root:
            await until("the root", lambda: answers(root), bool)
            await root.shutdown()
        assert await asyncio.to_thread(child.wait, 20) == 0


def test_only_this_user_may_connect() -> None:
    paths.private_directory(paths.state_directory())
    with serve.listening() as listener:
        assert listener.family == socket.AF_UNIX
        assert paths.root_socket().stat().st_uid == os.getuid()
        assert paths.root_socket().stat().st_mode & 0o077 == 0
