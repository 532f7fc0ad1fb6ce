"""Several roots in one cluster: what each sees, what none can reach, and what revoking does."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.errors import UsageError
from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable
from oakctl.model.roots import RootGrant, RootRevocation, RootRules
from oakctl.model.service import ServiceAddresses
from oakctl.model.sessions import SessionAnswer, SessionOpen, SessionRequest
from oakctl.orchestration.bus import ask, connect
from oakctl.orchestration.cluster import accounts
from tests.cluster.rig import Rig, leave, spec, until

parts = st.from_regex(r"[a-zA-Z0-9]{1,30}", fullmatch=True)
names = st.from_regex(r"[a-z0-9]{1,30}", fullmatch=True)
jobs = st.tuples(parts, parts, parts, parts).map(".".join)


@given(st.tuples(names | st.just(""), jobs), st.tuples(names | st.just(""), jobs))
def test_no_two_roots_ever_mean_the_same(one: tuple[str, str], other: tuple[str, str]) -> None:
    inside = accounts.inside(*one)
    assert accounts.owner_of(inside) == one[0]
    assert accounts.outside(inside) == one[1]
    assert (inside == accounts.inside(*other)) is (one == other)


@given(names, st.text(max_size=40))
def test_what_is_no_job_name_does_not_come_in(account: str, text: str) -> None:
    try:
        inside = accounts.inside(account, text)
    except UsageError:
        return
    assert accounts.owner_of(inside) == account
    assert "/" not in inside


@pytest.mark.parametrize("address", ["127.0.0.1", "10.18.0.5", "0.0.0.0", "::1", "x"])
def test_an_address_that_is_no_services_does_not_come_in(address: str) -> None:
    with pytest.raises(UsageError, match="no service address"):
        accounts.enter_spec("rob", spec(rr_ip=address))


async def test_equal_names_of_two_roots_are_two_services(rig: Rig) -> None:
    worker = await rig.join("w1")
    rob = await rig.let_in("rob")
    web, api = spec("web", rr_ip="10.30.1.1"), spec("api", talks_to=("web",))
    robs = replace(web, addresses=ServiceAddresses("10.30.9.1"))
    await rig.deployed(web)
    for service in (robs, api):
        assert (await rob.offer(service)).accepted
        assert (await rob.share(service, 1, {0: 1})).ok
        await until("it runs", lambda service=service: rob.is_running(service))

    assert len(worker.desired.instances) == 3
    own = await rob.full_state()
    assert {p.observed.job_name for p in own.instances} == {web.job_name, api.job_name}
    assert own.shares == {web.job_name: 1, api.job_name: 1}
    assert {t.addresses.rr_ip for t in own.tables} == {"10.30.9.1", ""}
    assert own.workers == ()
    assert own.processes == {}
    owners = await rig.root.full_state()
    assert [p.observed.job_name for p in owners.instances] == [web.job_name]
    assert [t.addresses.rr_ip for t in owners.tables] == ["10.30.1.1"]
    (seen,) = owners.roots
    assert (seen.name, seen.instances, seen.revoked) == ("rob", 2, False)

    # Its own services find each other, by the names that it gave them.
    talks = next(i for i in worker.desired.instances if i.service.name == "api")
    assert talks.reach["OAKCTL_ADDR_WEB"] == "10.30.9.1"
    log = m.LogsRequest(f"{web.job_name}.instance.0", 0)
    said = await rob.ask(subjects.CTL_LOGS, log, m.LogsAnswer)
    assert said.data == "log of app.ns_rob.web.ns.instance.0"
    # The names inside are nobody's to speak.
    log = m.LogsRequest("app.ns_rob.web.ns.instance.0", 0)
    assert "no job name" in (await rob.ask(subjects.CTL_LOGS, log, m.LogsAnswer)).error

    name = f"{web.job_name}.instance.0"
    await until("it is told of its own", lambda: "instance.running" in rob.kinds(name))
    assert all(e.subject.startswith("app.ns.") for e in rob.events)
    # One goes, the other stays.
    assert (await rob.share(robs, 2, {}, gone=True)).ok
    await until("it is gone", lambda: rob.place(web) is None)
    assert rig.root.is_running(web)


async def test_two_roots_do_not_get_the_same_service_address(rig: Rig) -> None:
    await rig.join("w1")
    rob = await rig.let_in("rob")
    await rig.deployed(spec("web", rr_ip="10.30.1.1"))
    answer = await rob.offer(spec("mine", rr_ip="10.30.1.1"))
    assert answer.reason == "admission: service address 10.30.1.1 is another root's here"
    assert answer.reason in (await rob.share(spec("mine", rr_ip="10.30.1.1"), 1, {0: 1})).error
    table = ServiceTable("a.b.c.d", "elsewhere", 1, ServiceAddresses("10.30.1.1"))
    assert "another root's" in (await rob.ask(subjects.CTL_TABLE, table, m.Answer)).error


async def test_a_granted_root_reaches_nothing_but_its_own_subjects(rig: Rig) -> None:
    await rig.join("w1")
    rob, eve = await rig.let_in("rob"), await rig.let_in("eve")
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    for subject in (">", "up.>", "of.rob.>", "of.rob.up.>", "cmd.>", "_INBOX_root-rob.>"):
        await eve.client.subscribe(subject, cb=hear)
    denied = m.Enrolment("w9", "x")
    for subject in (
        subjects.CTL_ENROL, subjects.CTL_OFFER, subjects.CTL_ROOT, subjects.CTL_STATE,
        subjects.of_root("rob", subjects.CTL_STATE), subjects.of_root("eve", subjects.CTL_ENROL),
        subjects.of_root("eve", subjects.CTL_SETTINGS), "cmd.w1.desired", "hb.w1",
    ):  # fmt: skip
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await ask(eve.client, subject, denied, m.Answer, timeout_s=0.5)
    # An answer goes into its own inbox alone.
    own = subjects.of_root("eve", subjects.CTL_STATE)
    await eve.client.publish(own, b"", reply="of.rob.up.state")
    await until("the orchestrator refused", lambda: "'of.rob.up.state'" in rig.log())
    await rob.full_state()
    assert not heard


async def test_revoking_cuts_a_root_off_and_stops_what_it_ran(rig: Rig) -> None:
    worker = await rig.join("w1")
    rob, eve = await rig.let_in("rob"), await rig.let_in("eve")
    web = spec("web")
    for root in (rob, eve):
        assert (await root.offer(web)).accepted
        assert (await root.share(web, 1, {0: 1})).ok
        await until("it runs", lambda root=root: root.is_running(web))
    refused = asyncio.Event()

    async def on_refused(_: str) -> None:
        refused.set()

    again = await connect(
        rig.bus.access("root-rob"), name="again", on_refused=on_refused, wait_s=20
    )
    began = time.monotonic()
    assert (await rig.root.ask(subjects.CTL_REVOKE, RootRevocation("rob"), m.Answer)).ok
    await asyncio.wait_for(refused.wait(), 20)
    print(f"access is lost {time.monotonic() - began:.2f} s after the revocation was asked for")  # noqa: T201
    await leave(again)
    refused.clear()
    late = asyncio.create_task(
        connect(rig.bus.access("root-rob"), name="late", on_refused=on_refused)
    )
    await asyncio.wait_for(refused.wait(), 20)
    assert not late.done()  # it tries for ever
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await until("what it ran is stopped", lambda: len(worker.desired.instances) == 1)
    assert eve.is_running(web)
    await until(
        "nothing of it is left",
        lambda: rig.root.state and [r.name for r in rig.root.state.roots] == ["eve"],
    )

    # A new root of that name begins at the beginning.
    fresh = await rig.let_in("rob", RootRules(namespaces=("ns",)))
    assert (await fresh.offer(web)).accepted
    assert (await fresh.share(web, 1, {0: 1})).ok
    await until("it runs", lambda: fresh.is_running(web))


async def test_what_a_revoked_root_ran_can_be_kept(rig: Rig) -> None:
    worker = await rig.join("w1")
    rob = await rig.let_in("rob")
    web = spec("web")
    assert (await rob.offer(web)).accepted
    assert (await rob.share(web, 1, {0: 1})).ok
    await until("it runs", lambda: rob.is_running(web))
    keep = RootRevocation("rob", keep_running=True)
    assert (await rig.root.ask(subjects.CTL_REVOKE, keep, m.Answer)).ok
    (seen,) = (await rig.root.full_state()).roots
    assert (seen.name, seen.revoked, seen.instances) == ("rob", True, 1)
    assert len(worker.desired.instances) == 1
    stop = RootRevocation("rob")
    assert (await rig.root.ask(subjects.CTL_REVOKE, stop, m.Answer)).ok
    await until("it is stopped", lambda: not worker.desired.instances)


async def test_grants_outlive_the_orchestrator(rig: Rig) -> None:
    await rig.join("w1")
    rob = await rig.let_in("rob", RootRules(namespaces=("prod",)))
    assert rig.end_orchestrator(signal.SIGKILL) == -signal.SIGKILL
    rig.start_orchestrator()
    answer = await rob.offer(spec("web"))
    assert "admission: namespace 'ns'" in answer.reason
    (seen,) = (await rig.root.full_state()).roots
    assert seen.rules == RootRules(namespaces=("prod",))


async def test_a_name_that_is_none_is_refused(rig: Rig) -> None:
    for name in ("", "root", "a.b", "a_b", "*"):
        grant = RootGrant(name, "", RootRules())
        answer = await rig.root.ask(subjects.CTL_ROOT, grant, m.Answer)
        assert "can't be the name of a root" in answer.error
    assert wire.decode(wire.encode(RootRules()), RootRules) == RootRules()


async def test_a_granted_root_gets_no_shell_in_an_instance_of_its_own(rig: Rig) -> None:
    await rig.join("w1")
    rob = await rig.let_in("rob")
    web = spec("web")
    assert (await rob.offer(web)).accepted
    await until("it runs", lambda: rob.is_running(web))
    request = SessionRequest(f"{web.job_name}.instance.0", "exec")
    asked = SessionOpen(os.urandom(16).hex(), request)
    answer = await rob.ask(subjects.CTL_SESSION, asked, SessionAnswer)
    assert not answer.ok
    assert "no-shell" in answer.error
    # Nor does it come near another root's by a kind of session that it may have.
    other = replace(request, kind="forward", instance="app.ns_eve.web.ns.instance.0")
    answer = await rob.ask(subjects.CTL_SESSION, replace(asked, request=other), SessionAnswer)
    assert "no job name" in answer.error
