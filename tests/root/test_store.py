"""The store: real SQLite, and a writer that is killed between and inside its commands."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from oakctl.errors import OakError
from oakctl.model.messages import ClusterEvent, Verdict
from oakctl.model.service import ServiceSpec
from oakctl.model.views import Decision, HostView
from oakctl.orchestration.root.delegation import Row
from oakctl.orchestration.root.store import events, fleet, records, wanted
from oakctl.orchestration.root.store.database import Store, open_database
from oakctl.orchestration.root.store.fleet import ClusterRow

ROUNDS = 5

# Prints each number after the command that stored it returned; scales up and down in between.
WRITER = """
import asyncio, sys
from pathlib import Path
from oakctl.orchestration.root import applying
from oakctl.orchestration.root.store import events, wanted
from oakctl.orchestration.root.store.database import Store

async def main():
    store = Store(Path(sys.argv[1]))
    await store.open()
    number = int(sys.argv[2])
    while True:
        number += 1
        def work(db):
            events.append(db, float(number), "test.written", str(number), "")
            applying.scale(db, "app.ns.svc.ns", number % 7, float(number))
        await store.run(work)
        print(number, flush=True)

asyncio.run(main())
"""


def spec(job: str = "app.ns.svc.ns") -> ServiceSpec:
    return ServiceSpec(job, "app.ns", "process", "")


def with_service(db: Database) -> None:
    wanted.add_application(db, wanted.ApplicationRow("app.ns", "", 0.0))
    wanted.add_service(db, wanted.ServiceRow(0, spec(), spec()))


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("OAKCTL_SEED", random.randrange(2**32)))
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    path = tmp_path / "root.db"
    database = open_database(path)
    with_service(database)
    database.close()
    acknowledged = 0
    for _ in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(acknowledged)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        with writer.stdout as lines:
            for _ in range(chance.randrange(1, 60)):
                acknowledged = int(lines.readline())
            writer.send_signal(signal.SIGKILL)
            rest = [int(line) for line in lines.read().split()]
            acknowledged = rest[-1] if rest else acknowledged
        writer.wait()
        database = open_database(path)
        found = [e.subject for e in events.after(database, 0, 10**6) if e.kind == "test.written"]
        # The one under way when the kill came may be there too: it was not acknowledged.
        assert found[:acknowledged] == [str(n) for n in range(1, acknowledged + 1)], f"seed {seed}"
        assert len(found) - acknowledged in (0, 1), f"seed {seed}"
        acknowledged = len(found)
        (service,) = wanted.services(database)
        assert service.wanted == acknowledged % 7
        assert [row.number for row in wanted.instances(database)] == list(range(service.wanted))
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


async def test_a_failed_command_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "root.db")
    await store.open()

    def work(db: Database) -> None:
        with_service(db)
        raise OakError("no")

    with pytest.raises(OakError):
        await store.run(work)
    assert await store.run(wanted.applications) == []
    await store.close()


async def test_the_file_is_durable_private_and_strict(tmp_path: Path) -> None:
    store = Store(tmp_path / "root.db")
    await store.open()

    def settings(db: Database) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store.run(settings) == ["wal", 2, 1]
    assert store.path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(sqlite3.IntegrityError):
        await store.run(lambda db: wanted.put_instance(db, Row("no.such.service.here", 0, True)))
    await store.close()


async def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "root.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    store = Store(path)
    with pytest.raises(OakError, match="not a database"):
        await store.open()
    await store.close()


def test_epochs_and_revisions_outlive_their_service(tmp_path: Path) -> None:
    db = open_database(tmp_path / "root.db")
    with_service(db)
    key, seat = ("app.ns.svc.ns", 0), ("edge", "app.ns.svc.ns")
    assert [wanted.next_epoch(db, key), wanted.next_epoch(db, key)] == [1, 2]
    assert [wanted.raise_share(db, seat), wanted.raise_share(db, seat, above=9)] == [1, 10]
    wanted.forget_service(db, key[0])
    wanted.forget_application(db, "app.ns")
    with_service(db)
    assert wanted.next_epoch(db, key) == 3
    assert wanted.raise_share(db, seat) == 11
    db.close()


def test_events_of_clusters_are_kept_once_and_read_in_order(tmp_path: Path) -> None:
    db = open_database(tmp_path / "root.db")
    event = ClusterEvent("edge", "id-1", 3.0, "instance.running", "x", "runs")
    assert events.append_of_cluster(db, event)
    assert not events.append_of_cluster(db, event)
    events.append(db, 4.0, "a", "b", "c")
    assert [e.id for e in events.after(db, 0, 10)] == [1, 2]
    assert [e.kind for e in events.after(db, -1, 10)] == ["a"]
    assert events.newest_id(db) == 2
    db.close()


def test_a_repeated_decision_is_kept_once_and_old_ones_go(tmp_path: Path) -> None:
    db = open_database(tmp_path / "root.db")
    for at in range(100):
        verdict = Verdict("edge", False, reasons=(f"{at // 2}",))
        records.add_decision(db, "job", Decision(float(at), "i", "root", "pending", (verdict,)))
    kept = records.decisions(db, "job")
    assert len(kept) == records.DECISIONS_PER_INSTANCE
    assert kept[-1].at == 99.0
    db.close()


def test_blocks_of_clusters_are_given_again(tmp_path: Path) -> None:
    db = open_database(tmp_path / "root.db")
    for index, name in enumerate(("a", "b", "c")):
        fleet.put_host(db, HostView(name, "127.0.0.1"))
        assert fleet.lowest_free_block(db) == index
        fleet.put_cluster(db, ClusterRow(name, name, "rom", None, index, "ready", 0.0))
    fleet.forget_cluster(db, "b")
    assert fleet.lowest_free_block(db) == 1
    db.close()
