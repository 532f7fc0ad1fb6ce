"""Tokens by which a machine becomes a worker: good once, for ten minutes, with a reason else."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.tokens import (
    GOOD_FOR_S,
    JoinAnswer,
    JoinRequest,
    TokenOrder,
    token_user,
)
from oakctl.orchestration.bus import ask, connect
from oakctl.orchestration.cluster import tokens
from tests.bus_fixture import hashed
from tests.cluster.rig import Rig, Worker, facts, leave, until

NOW = 1_800_000_000.0
TOKEN = tokens.made(TokenOrder("ab12", "w1", "hash", "hash", "planted"), NOW)


def test_a_token_is_good_for_ten_minutes_by_the_clusters_clock() -> None:
    assert tokens.refusal(TOKEN, "a", NOW + GOOD_FOR_S - 1) == ""
    late = tokens.refusal(TOKEN, "a", NOW + GOOD_FOR_S)
    assert "too late" in late
    assert "2027-01-15 08:10:00 UTC" in late


def test_a_copy_is_refused_and_the_same_machine_is_answered_again() -> None:
    used = tokens.used(TOKEN, "a", "attic\x1b[31m", NOW + 1)
    assert tokens.refusal(used, "a", NOW + 2 * GOOD_FOR_S) == ""
    copied = tokens.refusal(used, "b", NOW + 2)
    assert "used already" in copied
    assert "attic[31m" in copied
    assert "a" not in {used.claim}
    assert tokens.used(used, "b", "other", NOW + 5) == used


def test_a_revoked_one_says_why() -> None:
    gone = replace(tokens.used(TOKEN, "a", "", NOW), revoked="the worker was removed")
    assert "the worker was removed" in tokens.refusal(gone, "a", NOW)


@pytest.mark.parametrize(
    ("used_at", "has_joined", "after", "kept"),
    [
        (0.0, False, GOOD_FOR_S - 1, True),
        (0.0, False, GOOD_FOR_S, False),
        (NOW + 1, False, 10, True),
        (NOW + 1, True, 10, False),
        (NOW + 1, False, GOOD_FOR_S + 1, False),
    ],
)
def test_the_workers_secret_is_kept_no_longer_than_needed(
    used_at: float, has_joined: bool, after: float, kept: bool
) -> None:
    left = tokens.tidied(replace(TOKEN, used_at=used_at), has_joined, NOW + after)
    assert left is not None
    assert bool(left.worker_secret) is kept
    assert tokens.tidied(left, True, NOW + after + 2 * tokens.REMEMBERED_S) is None


async def order(rig: Rig, id: str, worker: str) -> str:
    """Have a token made; the worker's secret, which is nowhere else."""
    secret = secrets.token_hex(16)
    own = hashed(rig.bus.new_secret(token_user(id)))
    asked = TokenOrder(id, worker, own, hashed(secret), secret)
    assert (await rig.root.ask(subjects.CTL_INVITE, asked, m.Answer)).ok
    return secret


async def bearer(rig: Rig, id: str) -> Client:
    return await connect(rig.bus.access(token_user(id)), name="joining", wait_s=20)


async def join(client: Client, id: str, claim: str) -> JoinAnswer:
    asked = JoinRequest(claim, "attic")
    return await ask(client, subjects.join(id), asked, JoinAnswer, timeout_s=20)


def stored(rig: Rig) -> Path:
    return Path(rig.bus.layout.state("tokens.json"))


async def test_a_machine_joins_by_its_token_and_a_copy_does_not(rig: Rig) -> None:
    secret = await order(rig, "ab12", "w1")
    await until("it is listed", lambda: rig.root.state and rig.root.state.tokens)
    assert stat.S_IMODE(stored(rig).stat().st_mode) == 0o600
    client = await bearer(rig, "ab12")
    answers = await asyncio.gather(*(join(client, "ab12", claim) for claim in "xyz"))
    (taken,) = [answer for answer in answers if answer.accepted]
    assert taken.secret == secret
    assert all("used already" in answer.reason for answer in answers if answer != taken)
    claim = "xyz"[answers.index(taken)]

    # The answer may have been lost, and the orchestrator with it.
    rig.end_orchestrator(signal.SIGKILL)
    rig.start_orchestrator()
    await rig.root.full_state()
    assert (await join(client, "ab12", claim)).secret == secret
    assert "used already" in (await join(client, "ab12", "other")).reason

    Path(rig.bus.secret_file("w1")).write_text(secret)
    rig.workers["w1"] = await Worker.join(rig.bus, "w1", facts())
    await until("it is ready", lambda: (s := rig.root.worker("w1")) and s.status == "ready")
    await until("its secret is forgotten", lambda: secret not in stored(rig).read_text())
    again = await join(client, "ab12", claim)
    assert again.accepted
    assert again.is_ready
    assert again.secret == ""
    await leave(client)


async def test_a_token_may_do_nothing_else_on_the_bus(rig: Rig) -> None:
    await order(rig, "ab12", "w1")
    await order(rig, "cd34", "w2")
    client = await bearer(rig, "ab12")
    for subject in (subjects.join("cd34"), subjects.CTL_STATE, subjects.heartbeat("w1")):
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await ask(client, subject, JoinRequest("x"), JoinAnswer, timeout_s=0.5)
    assert {t.state for t in (await rig.root.full_state()).tokens} == {"open"}
    await leave(client)


async def test_a_late_token_is_refused_with_the_reason(rig: Rig) -> None:
    await order(rig, "ab12", "w1")
    rig.end_orchestrator()
    kept = json.loads(stored(rig).read_text())
    kept["tokens"][0]["until"] -= GOOD_FOR_S
    stored(rig).write_text(json.dumps(kept))
    rig.start_orchestrator()
    state = await rig.root.full_state()
    assert [token.state for token in state.tokens] == ["late"]
    client = await bearer(rig, "ab12")
    answer = await join(client, "ab12", "x")
    assert (answer.accepted, answer.secret) == (False, "")
    assert "too late" in answer.reason
    assert state.workers == ()
    assert not (await rig.root.full_state()).workers
    await leave(client)


async def test_removing_the_worker_revokes_its_token(rig: Rig) -> None:
    await order(rig, "ab12", "w1")
    client = await bearer(rig, "ab12")
    assert (await join(client, "ab12", "x")).accepted
    gone = m.WorkerChange("w1", remove=True)
    assert (await rig.root.ask(subjects.CTL_WORKER, gone, m.Answer)).ok
    refused = await join(client, "ab12", "x")
    assert "revoked: the worker was removed" in refused.reason
    assert not (await rig.root.full_state()).workers
    await leave(client)


async def test_no_two_tokens_for_one_name(rig: Rig) -> None:
    await rig.join("w1")
    for id, worker, ok in (("ab12", "w1", False), ("cd34", "w2", True), ("ef56", "w2", False)):
        asked = TokenOrder(id, worker, hashed(os.urandom(4).hex()), hashed("x"), "x")
        assert (await rig.root.ask(subjects.CTL_INVITE, asked, m.Answer)).ok is ok
    granted = await rig.let_in("rob")
    assert (await granted.full_state()).tokens == ()
    assert wire.encode(await rig.root.full_state()).count(b"worker_secret") == 0
