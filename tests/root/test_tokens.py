"""What becomes of a worker that may join by a token, as the root sees it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from oakctl.model.messages import Aggregate, ClusterState, WorkerSummary
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.requests import WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.tokens import LATE, OPEN, REVOKED, USED, TokenSummary
from oakctl.model.views import HostView
from oakctl.orchestration.root import tokens
from oakctl.orchestration.root.store import events, fleet
from oakctl.orchestration.root.store.database import open_database

STATE = ClusterState(
    "edge", "s", 1, 0.0, Aggregate("edge", 0.0, "rom", 0, Resources(), Resources())
)
FACTS = NodeFacts(
    hostname="attic", architecture="x86_64", system="Debian", python="3.11.2", capacity=Resources()
)
ENROLLED = WorkerSummary("w7", "never-seen", False, None, Usage(), Resources(), 0.0)


def heard(token: str = "", worker: WorkerSummary | None = None) -> ClusterState:
    listed = (TokenSummary("ab12", "w7", token, 0.0, machine="attic"),) if token else ()
    return replace(STATE, tokens=listed, workers=(worker,) if worker else ())


@pytest.mark.parametrize(
    ("state", "became"),
    [
        (heard(OPEN), ""),
        (heard(USED), ""),
        (heard(USED, ENROLLED), ""),
        (heard(USED, replace(ENROLLED, facts=FACTS)), tokens.JOINED),
        (heard("", replace(ENROLLED, facts=FACTS)), tokens.JOINED),
        (heard(LATE), tokens.ENDED),
        (heard(REVOKED), tokens.ENDED),
        (heard(""), tokens.ENDED),
    ],
)
def test_what_became_of_it(state: ClusterState, became: str) -> None:
    assert tokens.outcome("w7", state) == became


@pytest.fixture
def db(tmp_path: Path) -> Database:
    found = open_database(tmp_path / "root.db")
    with found.atomic():
        fleet.put_host(found, HostView("pi", "10.0.0.1"))
        fleet.put_cluster(found, fleet.ClusterRow("edge", "pi", "rom", None, 0, "ready", 0.0))
        for name in ("w7", "w8"):
            fleet.put_worker(found, fleet.WorkerRow(WorkerAdd(name, "edge", ""), "joining"))
    return found


def test_two_workers_may_have_no_host_and_are_told_apart(db: Database) -> None:
    assert [row.request.host for row in fleet.workers(db)] == ["", ""]
    assert [host.role for host in fleet.hosts(db)] == ["orchestrator of edge"]
    row, host = fleet.worker_and_host(db, "edge", "w7")
    assert (row.name, host.name, host.address) == ("w7", fleet.JOINED, "")


def test_who_has_joined_is_ready_and_who_did_not_come_is_forgotten(db: Database) -> None:
    state = heard(USED, replace(ENROLLED, facts=FACTS))
    with db.atomic():
        assert tokens._settle(db, {"edge": state}, 1.0)
        assert not tokens._settle(db, {"edge": state}, 2.0)
        assert not tokens._settle(db, {}, 2.0)
    assert [(row.name, row.state) for row in fleet.workers(db)] == [("w7", "ready")]
    told = [(e.subject, e.message) for e in events.after(db, 0, 9)]
    assert told == [
        ("edge/w7", "joined by token, from attic"),
        ("edge/w8", "its token ended without being used"),
    ]
