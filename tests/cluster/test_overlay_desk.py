"""What a cluster tells the root of its overlay, over a real bus."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.overlay_asking import (
    Lead,
    NodeSight,
    OverlayAnswer,
    OverlayLook,
    OverlayQuestion,
    Probe,
)
from oakctl.model.overlay_report import FULL, OverlayReport, TableInForce
from oakctl.orchestration.bus import ask
from oakctl.orchestration.cluster.overlay_desk import owners_sight
from tests.cluster.rig import Rig, Worker, spec, until
from tests.overlay.test_plan import table, target


async def answers_as(worker: Worker, name: str) -> list[OverlayLook]:
    """Let the worker answer questions about its overlay, in the name of `name`."""
    asked: list[OverlayLook] = []

    async def answer(message: Msg) -> None:
        asked.append(wire.decode(message.data, OverlayLook))
        await message.respond(wire.encode(NodeSight(name, time.time(), "kernel")))

    subject = subjects.command(worker.name, subjects.CMD_OVERLAY)
    await worker.client.subscribe(subject, cb=answer)
    await worker.client.flush()
    return asked


async def test_what_is_known_is_told_and_agents_are_asked_on_request(rig: Rig) -> None:
    first, second = await rig.join("w1"), await rig.join("w2")
    web = spec("web", rr_ip="10.30.5.5")
    (place,) = await rig.deployed(web)
    report = OverlayReport(
        place.worker, "x", 1, time.time(), "kernel", FULL,
        tables=(TableInForce(web.job_name, rig.bus.cluster, 1),),
    )  # fmt: skip
    has = rig.workers[place.worker]
    told = subjects.observed(place.worker, subjects.OBS_OVERLAY)
    await has.client.publish(told, wire.encode(report))

    async def known() -> OverlayAnswer:
        return await rig.root.ask(subjects.CTL_OVERLAY, OverlayQuestion(), OverlayAnswer)

    def is_whole(answer: OverlayAnswer) -> bool:
        node = next(each for each in answer.nodes if each.worker == place.worker)
        current = node.has_revision == node.tables_revision > 0
        return node.report == report and current and bool(answer.tables[0].targets)

    answer = await until_told(known, is_whole)
    assert [node.worker for node in answer.nodes] == ["w1", "w2"]
    assert [node.status for node in answer.nodes] == ["ready", "ready"]
    (node,) = (each for each in answer.nodes if each.worker == place.worker)
    assert node.needs == ((web.job_name, rig.bus.cluster),)
    assert [each.job_name for each in answer.tables] == [web.job_name]
    assert (answer.sights, answer.silent) == ((), {})

    looks = await answers_as(first, "w1")
    await answers_as(second, "w1")  # it lies
    question = OverlayQuestion(("w1", "w2", "w9"), probe=True)
    asked = await ask(rig.root.client, subjects.CTL_OVERLAY, question, OverlayAnswer, timeout_s=30)
    assert [each.worker for each in asked.sights] == ["w1"]
    assert looks == [OverlayLook(True)]
    assert asked.silent == {
        "w2": "its answer is in the name of another worker",
        "w9": "there is no such worker",
    }


async def until_told(look: object, holds: object) -> OverlayAnswer:
    found: list[OverlayAnswer] = []

    async def again() -> bool:
        found[:] = [await look()]  # type: ignore[operator]
        return bool(holds(found[0]))  # type: ignore[operator]

    await until("the cluster to tell all", again)
    return found[0]


async def test_an_agent_that_knows_no_such_question_is_silent(rig: Rig) -> None:
    await rig.join("w1")
    question = OverlayQuestion(("w1",))
    answer = await ask(rig.root.client, subjects.CTL_OVERLAY, question, OverlayAnswer, timeout_s=30)
    assert "does not answer" in answer.silent["w1"]


async def test_a_granted_root_is_told_nothing(rig: Rig) -> None:
    guest = await rig.let_in("rob")
    for subject in (subjects.CTL_OVERLAY, subjects.of_root("rob", subjects.CTL_OVERLAY)):
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await ask(guest.client, subject, OverlayQuestion(), OverlayAnswer, timeout_s=1)


def test_the_owner_is_told_nothing_of_services_of_others() -> None:
    mine, others = table(target(0, "w1")), table(target(1, "w1"), job="ar.ns_rob.rec.ns")
    seen = NodeSight(
        "w1", 1.0, "kernel",
        tables=(mine, others),
        leads=(Lead("10.30.9.1", "rr"), Lead("10.30.9.2", "closest")),
        probes=(
            Probe("tcp", f"{mine.job_name}.instance.0", "a"),
            Probe("tcp", f"{others.job_name}.instance.1", "b"),
            Probe("tcp", f"{others.job_name} rr", "b"),
            Probe("ping", "edge/w2", "c"),
        ),
    )  # fmt: skip
    told = owners_sight(seen)
    assert told.tables == (mine,)
    assert [probe.to for probe in told.probes] == [f"{mine.job_name}.instance.0", "edge/w2"]
