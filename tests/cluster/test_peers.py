"""Two real orchestrators on real buses: tables and nodes between them, with nobody in between.

No root says anything after the introduction: `Rig.root` only listens.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.asking import AddressesAnswer, AddressesRequest
from oakctl.model.config import BusAccess
from oakctl.model.documents import ServiceTable
from oakctl.model.instance import InstanceState
from oakctl.model.peers import PeerNews, PeerWord
from oakctl.model.service import ServiceAddresses
from oakctl.orchestration.bus import connect
from tests.cluster.peer_rigs import Pair, running_pair, summaries, table_of, targets
from tests.cluster.rig import Rig, Worker, facts, leave, spec, until

PRE = spec("pre", rr_ip="10.30.1.1")
CLIENT = spec("client", talks_to=("pre",))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with running_pair(tmp_path) as up:
        yield up


async def populated(pair: Pair) -> tuple[Worker, Worker]:
    """Pre in both clusters and its client in edge, introduced; the workers of edge and cloud."""
    edge = await pair.edge.join("w1")
    cloud = await pair.cloud.join("w1")
    await pair.edge.deployed(PRE)
    await pair.edge.deployed(CLIENT)
    await pair.cloud.deployed(PRE)
    await pair.introduce()
    return edge, cloud


def ready(worker: Worker, is_ready: bool) -> None:
    """What the worker says of its instance of Pre."""
    key = PRE.job_name, 0
    state = InstanceState.RUNNING if is_ready else InstanceState.FAILED
    worker.instances[key] = replace(worker.instances[key], ready=is_ready, state=state)
    worker.changed()


async def test_tables_cross_both_ways_and_only_those_that_are_wanted(pair: Pair) -> None:
    edge, cloud = await populated(pair)
    other = spec("other", rr_ip="10.30.5.5")
    await pair.cloud.deployed(other)
    await pair.linked()
    there = await until("edge knows Pre of cloud", lambda: targets(edge, PRE, "cloud"))
    assert there == [pair.cloud.root.place(PRE).observed.address]  # type: ignore[union-attr]
    assert await until("cloud knows Pre of edge", lambda: targets(cloud, PRE, "edge"))
    assert {t.job_name for t in edge.tables.tables} == {PRE.job_name, CLIENT.job_name}
    assert table_of(cloud, CLIENT, "edge") is None

    ready(edge, is_ready=False)
    await until("both know it is gone", lambda: targets(edge, PRE, "edge") == [])
    await until("cloud too", lambda: targets(cloud, PRE, "edge") == [])
    assert targets(edge, PRE, "cloud") == there

    # By its address a worker hears of a service that only the other cluster knows of.
    asked = AddressesRequest(("10.30.5.5", "10.30.5.6"))
    answered = await edge.ask(subjects.ask("w1", subjects.ASK_ADDRESSES), asked, AddressesAnswer)
    assert answered.known == ()
    await until("edge knows the other of cloud", lambda: targets(edge, other, "cloud"))
    await pair.cloud.join("w2")  # a change of cloud's, after which edge still wants it
    assert targets(edge, other, "cloud")

    # No instance in edge is of Pre, or talks to it, any more.
    assert (await pair.edge.root.share(CLIENT, 2, {}, gone=True)).ok
    assert (await pair.edge.root.share(PRE, 2, {}, gone=True)).ok
    await until("only what was asked for is wanted",
                lambda: [t.job_name for t in edge.tables.tables] == [other.job_name])  # fmt: skip
    await until("edge's table is gone", lambda: targets(cloud, PRE, "edge") is None)


async def test_what_changed_while_a_bus_or_an_orchestrator_was_away_arrives(pair: Pair) -> None:
    edge, cloud = await populated(pair)
    await until("edge knows cloud's", lambda: targets(edge, PRE, "cloud"))
    await until("cloud knows edge's", lambda: targets(cloud, PRE, "edge"))

    pair.edge.bus.kill()
    ready(cloud, is_ready=False)
    await until("cloud knows", lambda: targets(cloud, PRE, "cloud") == [])
    assert targets(edge, PRE, "cloud")
    pair.edge.bus.start()
    await until("edge is told after all", lambda: targets(edge, PRE, "cloud") == [])

    pair.cloud.bus.kill()
    ready(edge, is_ready=False)
    pair.cloud.bus.start()
    await until("cloud is told after all", lambda: targets(cloud, PRE, "edge") == [])

    pair.cloud.end_orchestrator(signal.SIGKILL)
    ready(edge, is_ready=True)
    pair.cloud.start_orchestrator()
    await until("cloud is told again", lambda: targets(cloud, PRE, "edge"))

    pair.edge.end_orchestrator(signal.SIGKILL)
    ready(cloud, is_ready=True)
    await until("cloud knows itself", lambda: targets(cloud, PRE, "cloud"))
    assert targets(cloud, PRE, "edge"), "the last that edge told stays in force"
    pair.edge.start_orchestrator()
    await until("edge is told again", lambda: targets(edge, PRE, "cloud"))


async def test_the_other_one_dials_where_the_first_can_not(pair: Pair) -> None:
    edge = await pair.edge.join("w1")
    await pair.cloud.join("w1")
    await pair.edge.deployed(CLIENT)
    await pair.cloud.deployed(PRE)
    await pair.introduce(nowhere=("cloud",))
    await pair.linked("edge")
    assert await until("edge knows Pre", lambda: targets(edge, PRE, "cloud"))
    assert "127.0.0.1:9" in summaries(pair.cloud)[0].address
    await until("cloud says why", lambda: summaries(pair.cloud)[0].reason)
    # It could be dialled after all: the one that dials by right takes over, and nobody flaps.
    await pair.introduce()
    await pair.linked("cloud")
    assert targets(edge, PRE, "cloud")


async def test_a_peer_that_is_removed_is_cut_off_and_what_it_told_is_gone(pair: Pair) -> None:
    edge, _ = await populated(pair)
    await pair.linked()
    await until("edge knows cloud's", lambda: targets(edge, PRE, "cloud"))
    await pair.part(pair.edge, pair.cloud)
    await until("edge has forgotten it", lambda: targets(edge, PRE, "cloud") is None)
    assert targets(edge, PRE, "edge")
    folder = Path(pair.edge.bus.layout.state("peers"))
    assert list(folder.iterdir()) == []
    await until("cloud says why", lambda: "does not know us" in summaries(pair.cloud)[0].reason)
    with pytest.raises((NatsError, OSError, asyncio.TimeoutError)):
        await connect(as_peer(pair.edge, pair.cloud), name="revoked", wait_s=5)
    # It holds after a restart, too.
    pair.edge.end_orchestrator()
    pair.edge.start_orchestrator()
    assert (await pair.edge.root.full_state()).peers == ()


def as_peer(of: Rig, who: Rig) -> BusAccess:
    """How `who` dials the bus of `of`."""
    folder = Path(who.bus.layout.state("peers"))
    name = of.bus.cluster
    return BusAccess(
        url=f"tls://127.0.0.1:{of.bus.port}",
        tls_hostname=name,
        ca_file=str(folder / f"{name}.pem"),
        user=f"peer-{who.bus.cluster}",
        secret_file=str(folder / f"{name}.secret"),
    )


async def test_a_peer_reaches_its_two_subjects_only_and_is_believed_for_itself(pair: Pair) -> None:
    edge, _ = await populated(pair)
    await pair.linked()
    assert {
        f.stat().st_mode & 0o777 for f in Path(pair.cloud.bus.layout.state("peers")).iterdir()
    } == {0o600}
    await until("edge knows cloud's", lambda: targets(edge, PRE, "cloud"))
    have = summaries(pair.edge)[0].have
    peer = await connect(as_peer(pair.edge, pair.cloud), name="peer", wait_s=20)
    seen: list[str] = []

    async def note(message: Msg) -> None:
        seen.append(message.subject)

    for subject in (">", "up.>", "ctl.>", "cmd.>", "peer.*.sync", "$KV.>", "_INBOX.>"):
        await peer.subscribe(subject, cb=note)
    await peer.flush()
    ready(edge, is_ready=False)
    await until("something was said", lambda: targets(edge, PRE, "edge") == [])
    for subject in (
        subjects.CTL_STATE, subjects.CTL_TABLE, subjects.CTL_PEER, subjects.CTL_WORD,
        "cmd.w1.desired", "hb.w1", "peer.other.sync", "peer.cloud.word", "$KV.shares.x",
        "$JS.API.INFO", subjects.of_root("cloud", subjects.CTL_STATE),
    ):  # fmt: skip
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await peer.request(subject, b"{}", timeout=0.3)
    # The bus does not check replies: the orchestrator does.
    sync = subjects.peer("cloud", subjects.PEER_SYNC)
    asked = wire.encode(PeerWord("cloud", 0))
    await peer.publish(sync, asked, reply="cmd.w1.desired")
    forged = ServiceTable(PRE.job_name, "edge", 10**15, ServiceAddresses("10.30.1.1"))
    for speaker in ("edge", "other"):
        word = PeerWord(speaker, 0, PeerNews(0, 10**15, (), (), (forged,)))
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await peer.request(sync, wire.encode(word), timeout=0.3)
    # What is older than what is held, or rests on something that is not, changes nothing.
    for news in (PeerNews(0, have, (), (), ()), PeerNews(have + 1, 10**15, gone=(PRE.job_name,))):
        word = PeerWord("cloud", 0, news)
        answer = await peer.request(sync, wire.encode(word), timeout=5)
        assert wire.decode(answer.data, PeerWord).have == summaries(pair.edge)[0].have
    assert targets(edge, PRE, "cloud")
    assert "wants its answer in 'cmd.w1.desired'" in pair.edge.log()
    assert seen == []
    await leave(peer)


async def test_a_granted_root_sees_nothing_of_peers_and_its_services_stay_its_own(
    pair: Pair,
) -> None:
    edge, cloud = await populated(pair)
    rob = await pair.cloud.let_in("rob")
    robs = spec("pre", rr_ip="10.30.9.9")
    assert (await rob.offer(robs)).accepted
    assert (await rob.share(robs, 1, {0: 1})).ok
    await until("rob's runs", lambda: rob.is_running(robs))
    await pair.linked()
    await until("edge knows cloud's", lambda: targets(edge, PRE, "cloud"))
    assert (await rob.full_state()).peers is None
    assert {t.job_name for t in edge.tables.tables} == {PRE.job_name, CLIENT.job_name}
    with pytest.raises((NatsError, asyncio.TimeoutError)):
        await rob.client.request(subjects.peer("edge", subjects.PEER_SYNC), b"{}", timeout=0.3)
    # A table that rob's root carries to cloud is not edge's, whatever that root calls its cluster.
    carried = ServiceTable(PRE.job_name, "edge", 1, ServiceAddresses("10.30.9.8"))
    assert (await rob.ask(subjects.CTL_TABLE, carried, m.Answer)).ok
    ready(edge, is_ready=False)
    await until("cloud hears of edge", lambda: targets(cloud, PRE, "edge") == [])
    inside = f"{robs.job_name.replace('.ns.', '.ns_rob.', 1)}"
    kept = await until(
        "rob's table is there",
        lambda: [t for t in cloud.tables.tables if (t.job_name, t.cluster) == (inside, "edge")],
    )
    assert kept[0].addresses.rr_ip == "10.30.9.8"


async def test_carried_words_do_the_same_and_what_was_told_outlives_a_restart(pair: Pair) -> None:
    edge = await pair.edge.join("w1", replace(facts(), tunnel_key="ke", address="192.0.2.1"))
    await pair.cloud.join("w1", replace(facts(loopback=4), tunnel_key="kc", address="192.0.2.2"))
    await pair.edge.deployed(CLIENT)
    await pair.cloud.deployed(PRE)
    await pair.introduce(nowhere=("cloud", "edge"))
    word = PeerWord("cloud", 0)
    for _ in range(2):
        word = await pair.edge.root.ask(subjects.CTL_WORD, word, PeerWord)
        word = await pair.cloud.root.ask(subjects.CTL_WORD, word, PeerWord)
    await pair.edge.root.ask(subjects.CTL_WORD, word, PeerWord)
    await until("edge knows Pre", lambda: targets(edge, PRE, "cloud"))
    await until("and all nodes", lambda: nodes(edge) == {("edge", "ke"), ("cloud", "kc")})
    assert not summaries(pair.edge)[0].linked
    subnets = {node.cluster: node.subnet for node in edge.tables.nodes}
    assert subnets == {"edge": "10.18.0.0/26", "cloud": "10.18.16.0/26"}
    pair.cloud.bus.kill()
    pair.edge.end_orchestrator(signal.SIGKILL)
    before = edge.tables.revision
    pair.edge.start_orchestrator()
    await until("edge's tables are told anew", lambda: edge.tables.revision > before)
    assert nodes(edge) == {("edge", "ke"), ("cloud", "kc")}
    assert targets(edge, PRE, "cloud")
    pair.cloud.bus.start()


def nodes(worker: Worker) -> set[tuple[str, str]]:
    """Cluster and key of every node that a worker knows."""
    return {(node.cluster, node.public_key) for node in worker.tables.nodes}
