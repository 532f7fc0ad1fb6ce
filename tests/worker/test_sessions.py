"""Commands beside instances: a real agent, real processes, a real bus."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.model import sessions
from oakctl.model.instance import InstanceState
from oakctl.model.sessions import STDIN, Broken, Ended, SessionRequest
from oakctl.orchestration.worker import identity, procfs
from tests.bus_fixture import Bus
from tests.worker.sessions_by_hand import Refused, line_of, opened, rest_of
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process to a user")


@pytest.fixture
def host_agent(bus: Bus) -> Iterator[AgentProcess]:
    """As on a real host, where instances are users of their own."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = AgentProcess.create(bus, folder, overlay_driver="host", address="127.0.0.1")
    yield made
    made.destroy()
    shutil.rmtree(folder)


async def running(agent: AgentProcess, orchestrator: Orchestrator) -> int:
    """The pid of an instance that does nothing."""
    sha, content = artifact(command=("/bin/sleep", "100000"))
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, environment=("GREETING=good day",))))
    return (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid


def shell(text: str, **changes: object) -> SessionRequest:
    return SessionRequest(NAME, sessions.EXEC, command=("/bin/sh", "-c", text), **changes)  # type: ignore[arg-type]


@as_root
async def test_a_command_is_the_instance_for_the_kernel(
    host_agent: AgentProcess, orchestrator: Orchestrator, tmp_path: Path
) -> None:
    pid = await running(host_agent, orchestrator)
    look = "id -u; id -G; pwd; echo $GREETING; cat /proc/self/cgroup; exit 3"
    async with opened(orchestrator, shell(look)) as session:
        out, _, last = await rest_of(session)
    assert last == Ended(3)
    lines = out.decode().splitlines()
    user = str(identity.FIRST + 70)
    assert lines[:4] == [user, user, str(host_agent.instance(NAME) / "work"), "good day"]
    assert lines[4:] == Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    # A terminal is that user's too, and can be opened by its name.
    open_it = 'echo "$(stty size)" >"$(tty)"; [ -t 0 ] && [ -t 1 ] && [ -t 2 ]'
    async with opened(orchestrator, shell(open_it, tty=True, rows=31, columns=91)) as session:
        assert await rest_of(session) == (b"31 91\r\n", b"", Ended(0))
    # Files are written as that user, who gets no further than the kernel lets it.
    secret = host_agent.prefix / "secret"
    secret.write_text("the agent's own")
    secret.chmod(0o600)
    link = host_agent.instance(NAME) / "work/link"
    link.symlink_to(secret)
    async with opened(
        orchestrator, SessionRequest(NAME, sessions.COPY_OUT, path="link")
    ) as session:
        out, words, last = await rest_of(session)
    assert (out, last.code) == (b"", 1)
    assert b"leads out" in words


async def test_what_runs_in_a_session_ends_with_the_agent_and_the_instance_does_not(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    pid = await running(agent, orchestrator)
    for number in (signal.SIGKILL, signal.SIGTERM):
        async with opened(orchestrator, shell("echo $$; exec sleep 100000")) as session:
            command = int(await line_of(session))
            stat = procfs.stat_of(command)
            assert stat is not None
            assert agent.process is not None
            agent.process.send_signal(number)
            agent.process.wait(timeout=30)
            await until(
                lambda seen=stat: not procfs.lives(seen.pid, seen.start), "the command to end"
            )
            if number is signal.SIGTERM:
                with pytest.raises(Broken, match="the agent of the worker ends"):
                    await rest_of(session)
        agent.start()
        greetings = len(orchestrator.greetings)
        await until(lambda seen=greetings: len(orchestrator.greetings) > seen, "the next agent")
        await until(lambda: orchestrator.state(NAME) is InstanceState.RUNNING, "its report")
    assert procfs.stat_of(pid) is not None


async def test_children_of_a_session_that_breaks_end_and_those_of_one_that_ended_stay(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    await running(agent, orchestrator)
    async with opened(orchestrator, shell("sleep 100001 & echo $!; wait")) as session:
        broken = int(await line_of(session))
    await until(lambda: not Path(f"/proc/{broken}").exists(), "the child to end")
    async with opened(orchestrator, shell("sleep 100002 & echo $!")) as session:
        out, _, last = await rest_of(session)
    assert last == Ended(0)
    assert Path(f"/proc/{int(out)}").exists()
    await orchestrator.want()  # the instance goes, and all of it
    await until(lambda: not Path(f"/proc/{int(out)}").exists(), "what it left to end")


async def test_input_that_nobody_reads_and_many_at_once(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    await running(agent, orchestrator)
    async with opened(orchestrator, shell("exec <&-; sleep 0.2; exit 4", stdin=True)) as session:
        writing = asyncio.ensure_future(session.write(STDIN, b"x" * (1 << 20)))
        _, _, last = await rest_of(session)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert last == Ended(4)

    (agent.instance(NAME) / "work/out").symlink_to("/etc")
    request = SessionRequest(NAME, sessions.COPY_IN, path="out/oakctl-was-here", stdin=True)
    for _ in range(3):
        async with opened(orchestrator, request) as session:
            writing = asyncio.ensure_future(session.write(STDIN, b"x" * (3 << 20)))
            _, words, last = await rest_of(session)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        assert last == Ended(1)
        assert b"leads out" in words

    async def one(number: int) -> bytes:
        async with opened(orchestrator, shell(f"cat; echo {number}", stdin=True)) as session:
            await session.write(STDIN, b"in ")
            await session.close_channel(STDIN)
            return (await rest_of(session))[0]

    found = await asyncio.gather(*(one(number) for number in range(8)))
    assert found == [f"in {number}\n".encode() for number in range(8)]


async def test_sessions_that_there_cannot_be(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    await running(agent, orchestrator)
    for request, words in (
        (SessionRequest("nobody", sessions.EXEC, command=("true",)), "does not run"),
        (SessionRequest(NAME, sessions.EXEC), "no command"),
        (SessionRequest(NAME, "shell"), "no sessions of kind"),
        (SessionRequest(NAME, sessions.FORWARD, port=22), "names no port 22"),
    ):
        with pytest.raises(Refused, match=words):
            async with opened(orchestrator, request):
                pass
