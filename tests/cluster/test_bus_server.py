"""The rendered configuration against the real nats-server: accepted, and in force."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from oakctl.errors import Conflict, UsageError
from oakctl.model import subjects
from oakctl.model.config import HostLayout
from oakctl.orchestration.bus import connect
from oakctl.orchestration.cluster import bus_server
from tests.bus_fixture import Bus, hashed

HASH = hashed("secret")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    bus = Bus.create(tmp_path / "host")
    yield bus
    bus.stop()


def test_users_file_is_private_and_names_every_user(bus: Bus) -> None:
    path = Path(bus.layout.bus_users)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert 'user: "orchestrator"' in text
    assert 'user: "root"' in text
    assert bus_server.in_force(bus.layout, bus.users)
    assert bus_server.read_users(bus.layout) == bus.users


def test_a_refused_dry_run_leaves_the_files_in_force(bus: Bus) -> None:
    before = Path(bus.layout.bus_users).read_text()
    config = Path(bus.layout.bus_config)
    config.write_text(config.read_text() + "\nno_such_setting_here: {\n")
    with pytest.raises(Conflict):
        bus_server.apply_users(bus.layout, {**bus.users, "w9": {"role": "worker", "hash": HASH}})
    assert Path(bus.layout.bus_users).read_text() == before
    assert bus_server.read_users(bus.layout) == bus.users
    assert not list(config.parent.glob("trial*"))


@pytest.mark.parametrize(
    "users",
    [
        {'w1" }': {"role": "worker", "hash": HASH}},
        {"w1.x": {"role": "worker", "hash": HASH}},
        {"w1": {"role": "worker", "hash": 'plain"'}},
        {"w1": {"role": "king", "hash": HASH}},
        {"": {"role": "worker", "hash": HASH}},
        {">": {"role": "worker", "hash": HASH}},
    ],
)
def test_what_would_be_configuration_is_refused(users: dict[str, dict[str, str]]) -> None:
    with pytest.raises(UsageError):
        bus_server.render_users(users)


@pytest.mark.parametrize("name", ["root", "orchestrator", "watcher", "a b", "*"])
def test_a_worker_can_not_take_these_names(name: str) -> None:
    with pytest.raises(UsageError):
        bus_server.check_worker_name(name)


def test_the_config_refuses_a_cluster_name_with_a_quote(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        bus_server.render_config("0.0.0.0", 4222, 'a"', HostLayout(str(tmp_path)), HASH)


def test_no_signal_to_a_stranger(bus: Bus) -> None:
    Path(bus.layout.bus_pid).write_text("1")
    assert bus_server.server_pid(bus.layout) is None
    assert not bus_server.reload_server(bus.layout)


async def test_a_worker_is_added_and_revoked_while_it_runs(bus: Bus) -> None:
    bus.start()
    assert bus_server.server_pid(bus.layout) is not None
    bus.enrol("w1")
    refused = asyncio.Event()

    async def on_refused(_: str) -> None:
        refused.set()

    client = await _connect_when_known(bus, "w1", on_refused)
    bus.users.pop("w1")
    bus_server.apply_users(bus.layout, bus.users)
    await asyncio.wait_for(refused.wait(), 20)
    await client.close()


async def test_a_worker_reaches_its_own_subjects_only(bus: Bus) -> None:
    bus.enrol("w1")
    bus.enrol("w2")
    bus.start()
    orchestrator = await connect(bus.access("orchestrator"), name="o", wait_s=20)
    worker = await connect(bus.access("w1"), name="w1", wait_s=20)
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def note(message: object) -> None:
        seen.put_nowait(message.subject)  # type: ignore[attr-defined]

    for subject in (">",):
        await orchestrator.subscribe(subject, cb=note)
    await orchestrator.flush()
    for subject in ("hb.w2", "obs.w2.report", "ask.w2.desired", "cmd.w2.desired", "ctl.share",
                    "up.state", "$KV.instances.x", "_INBOX_w2.a", "hb.w1"):  # fmt: skip
        await worker.publish(subject, b"x")
    await worker.flush()
    while (subject := await asyncio.wait_for(seen.get(), 20)) != "hb.w1":
        pytest.fail(f"{subject} came through")
    inbox = asyncio.Event()

    async def overheard(_: object) -> None:
        inbox.set()

    for subject in ("cmd.w2.>", "hb.>", ">", "_INBOX_w2.>", "_INBOX.>", "$SYS.>"):
        await worker.subscribe(subject, cb=overheard)
    await worker.flush()
    for subject in ("cmd.w2.desired", "hb.w2", "_INBOX_w2.b"):
        await orchestrator.publish(subject, b"x")
    await orchestrator.flush()
    await worker.flush()
    assert not inbox.is_set()
    with pytest.raises(NatsError):
        await worker.request(subjects.CTL_STATE, b"", timeout=0.2)
    await worker.close()
    await orchestrator.close()


async def _connect_when_known(bus: Bus, user: str, on_refused: object) -> object:
    """SIGHUP tells nothing, so the first tries may come too early."""
    for _ in range(200):
        try:
            return await connect(
                bus.access(user),
                name=user,
                wait_s=5,
                on_refused=on_refused,  # type: ignore[arg-type]
            )
        except NatsError:
            await asyncio.sleep(0.02)
    raise AssertionError(f"{user} was never let in")
