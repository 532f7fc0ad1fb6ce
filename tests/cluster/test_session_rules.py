"""Who may open which session, and what a worker may send into sessions of others."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from nats.aio.msg import Msg

from oakctl.model import sessions, subjects, wire
from oakctl.model.sessions import Data, Flow, SessionAnswer, SessionOpen, SessionRequest
from oakctl.orchestration.bus import ask
from oakctl.orchestration.cluster.session_rules import may_open
from tests.cluster.rig import Rig, Worker, spec, until


def test_only_the_owner_gets_a_shell() -> None:
    for kind in sessions.KINDS:
        assert may_open(kind, subjects.USER_ROOT) == ""
    for kind in (sessions.EXEC, sessions.COPY_IN, sessions.COPY_OUT):
        assert "no-shell" in may_open(kind, "guest")
    assert may_open(sessions.FORWARD, "guest") == ""
    assert may_open("shell", subjects.USER_ROOT)


class Ends:
    """A session between the rig's root and a worker that answers by hand."""

    def __init__(self, rig: Rig, worker: Worker) -> None:
        self.id = secrets.token_hex(16)
        self.rig, self.worker = rig, worker
        self.to_root: list[bytes] = []
        self.to_worker: list[bytes] = []

    async def open(self, instance: str, connection: int = 0) -> SessionAnswer:
        """Ask as the root does; the worker says yes."""
        name = self.worker.name

        async def accept(message: Msg) -> None:
            await message.respond(wire.encode(SessionAnswer(True)))

        async def to_worker(message: Msg) -> None:
            self.to_worker.append(message.data)

        async def to_root(message: Msg) -> None:
            self.to_root.append(message.data)

        client, root = self.worker.client, self.rig.root.client
        await client.subscribe(subjects.command(name, subjects.CMD_SESSION), cb=accept)
        await client.subscribe(subjects.frame_to_worker(name, self.id), cb=to_worker)
        await root.subscribe(subjects.frame_to_root("root", self.id), cb=to_root)
        await client.flush()
        await root.flush()
        wanted = SessionOpen(self.id, SessionRequest(instance, sessions.EXEC), connection)
        return await ask(root, subjects.CTL_SESSION, wanted, SessionAnswer, timeout_s=30)


@pytest.fixture
async def ends(rig: Rig) -> Ends:
    """An open session with an instance on w1."""
    worker = await rig.join("w1")
    service = spec("Rec")
    await rig.deployed(service)
    made = Ends(rig, worker)
    connection = rig.root.client.client_id or 0
    answer = await made.open(f"{service.job_name}.instance.0", connection)
    assert answer.ok, answer
    return made


async def test_frames_pass_both_ways_and_not_from_another_worker(rig: Rig, ends: Ends) -> None:
    flow = Flow()
    frame = flow.frame(Data(sessions.STDOUT, b"hello"))
    other = await rig.join("w2")
    await other.client.publish(subjects.frame_from_worker("w2", ends.id), frame)
    await other.client.flush()
    await ends.worker.client.publish(subjects.frame_from_worker("w1", ends.id), frame)
    await rig.root.client.publish(subjects.frame_from_root(ends.id), frame)
    await until("both frames", lambda: ends.to_root and ends.to_worker)
    assert (ends.to_root, ends.to_worker) == ([frame], [frame])


async def test_a_worker_that_leaves_ends_its_sessions(rig: Rig, ends: Ends) -> None:
    await ends.worker.vanish()
    await until("the root to be told", lambda: ends.to_root)
    assert b"w1 left the bus" in ends.to_root[0]


async def test_a_root_that_leaves_ends_its_sessions(rig: Rig, ends: Ends) -> None:
    await rig.root.client.close()
    await until("the worker to be told", lambda: ends.to_worker)
    assert b"the root left the bus" in ends.to_worker[0]


async def test_a_new_orchestrator_says_that_it_knows_nothing(rig: Rig, ends: Ends) -> None:
    rig.end_orchestrator()
    rig.start_orchestrator()
    alive = Flow().alive()

    async def speak() -> None:
        while not (ends.to_root and ends.to_worker):
            reply = subjects.frame_to_root("root", ends.id)
            await rig.root.client.publish(subjects.frame_from_root(ends.id), alive, reply=reply)
            subject = subjects.frame_from_worker("w1", ends.id)
            await ends.worker.client.publish(subject, alive)
            await asyncio.sleep(0.1)

    await asyncio.wait_for(speak(), 60)
    assert all(b"does not know this session" in one[-1] for one in (ends.to_root, ends.to_worker))
