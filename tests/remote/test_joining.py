"""A join program that is killed in the middle of its enrolment, against a real bus.

The orchestrator's part is played here, so that it is known at which moment it was killed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from oakctl.model import subjects, wire
from oakctl.model.tokens import JoinAnswer, JoinFile, JoinRequest, token_user
from oakctl.orchestration.bus import connect
from oakctl.orchestration.cluster import bus_server
from oakctl.remote import join_archive
from tests.bus_fixture import Bus, hashed

WAIT_S = 90


class Cluster:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.claims: asyncio.Queue[str] = asyncio.Queue()
        self.answer: JoinAnswer | None = None

    async def on_join(self, message: Msg) -> None:
        if self.answer is not None:
            await message.respond(wire.encode(self.answer))
        self.claims.put_nowait(wire.decode(message.data, JoinRequest).claim)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    bus = Bus.create(tmp_path / "edge")
    user = token_user("ab12")
    bus.users[user] = {"role": bus_server.ROLE_JOINING, "hash": hashed(bus.new_secret(user))}
    bus_server.apply_users(bus.layout, bus.users)
    bus.start()
    client = await connect(bus.access("orchestrator"), name="orchestrator", wait_s=20)
    made = Cluster(bus)
    await client.subscribe(subjects.join("*"), cb=made.on_join)
    await client.flush()
    yield made
    await client.close()
    bus.kill()


def program(cluster: Cluster, folder: Path) -> Path:
    bus = cluster.bus
    told = JoinFile(
        id="ab12",
        cluster="edge",
        worker="w7",
        secret=Path(bus.secret_file(token_user("ab12"))).read_text(),
        bus_address="127.0.0.1",
        bus_port=bus.port,
        ca_pem=Path(bus.layout.etc("bus/ca.pem")).read_text(),
    )
    path = folder / "join.pyz"
    path.write_bytes(join_archive.build(told))
    return path


def start(path: Path, home: Path) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "TMPDIR": str(home), "OAKCTL_SUPERVISOR": "plain:/none"}
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **own},
    )  # fmt: skip


async def test_killed_while_it_enrols_it_carries_on_and_refused_it_leaves_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    path, home = program(cluster, tmp_path), tmp_path / "home"
    prefix = home / ".oakctl"
    with start(path, home) as first:
        claim = await asyncio.wait_for(cluster.claims.get(), WAIT_S)
        first.kill()
    assert claim in (prefix / "etc/worker/join.json").read_text()
    assert not (prefix / "etc/worker/secret").exists()

    # The same machine has the same claim. Nobody keeps processes running here, so it ends there.
    cluster.answer = JoinAnswer(True, secret="given")
    with start(path, home) as second:
        said, _ = await asyncio.to_thread(second.communicate, timeout=WAIT_S)
    assert second.returncode != 0
    assert b"start the agent" in said
    assert await asyncio.wait_for(cluster.claims.get(), WAIT_S) == claim
    assert (prefix / "etc/worker/secret").read_text() == "given"
    assert (prefix / "etc/worker/secret").stat().st_mode & 0o777 == 0o600
    assert b"given" not in said

    # Another machine is refused by the word of the cluster.
    cluster.answer = JoinAnswer(False, "the token was used already")
    other = tmp_path / "other"
    with start(path, other) as third:
        said, _ = await asyncio.to_thread(third.communicate, timeout=WAIT_S)
    assert third.returncode == 1
    assert b"refuses: the token was used already" in said
    assert list(other.iterdir()) == []
    assert await asyncio.wait_for(cluster.claims.get(), WAIT_S) != claim
