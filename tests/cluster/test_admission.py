"""What roots may do, as the orchestrator holds them to it over the real bus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from oakctl.model import messages as m
from oakctl.model import subjects
from oakctl.model.instance import InstanceState
from oakctl.model.roots import RootGrant, RootRules
from oakctl.model.service import ServiceSpec
from tests.cluster.rig import Rig, Root, facts, spec, until


def of_rob(name: str = "web", namespace: str = "prod", **more: Any) -> ServiceSpec:
    """A service of the application `shop` in the given namespace."""
    base = spec(name, **more)
    application = f"shop.{namespace}"
    return replace(base, job_name=f"{application}.{name}.ns", application=application)


def write_rules(rig: Rig, text: str) -> None:
    path = Path(rig.bus.layout.admission)
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def explained(root: Root, service: ServiceSpec) -> m.OfferAnswer:
    return await root.ask(subjects.CTL_EXPLAIN, m.Offer(service, 0, 1, 0.0), m.OfferAnswer)


async def test_the_operators_file_holds_roots_to_its_rules_as_it_changes(rig: Rig) -> None:
    await rig.join("w1")
    rob = await rig.let_in("rob")
    kept = of_rob("kept")
    assert (await rob.offer(kept)).accepted
    assert (await rob.share(kept, 1, {0: 1})).ok

    write_rules(rig, "# Rob is in prod alone.\n" + json.dumps(
        {"roots": {"rob": {"namespaces": ["prod"], "cpu_share": 0.04}}}
    ))  # fmt: skip
    for service, rule in (
        (of_rob(namespace="test"), "admission: namespace 'test' is not among rob's: prod"),
        (of_rob("big"), "cpu_share 0.04"),
    ):
        for answer in (await rob.offer(service), await explained(rob, service)):
            assert not answer.accepted
            assert any(rule in reason for v in answer.verdicts for reason in v.reasons), answer
        # Nothing goes around it: a share is a whole document, and says no more than an offer.
        answer_of_share = await rob.share(service, 1, {0: 1})
        assert rule in answer_of_share.error
        assert rob.place(service) is None
    assert (await rig.root.offer(spec("owners"))).accepted  # the owner is not restricted by it

    write_rules(rig, '{"roots": {"rob": {"namspaces": []}}}')
    for root in (rob, rig.root):
        answer = await root.offer(of_rob("new"))
        assert "nothing new is admitted" in answer.reason
        assert "'namspaces' is no rule" in answer.reason
    assert (await rob.offer(kept)).accepted  # it is here already
    assert (await rob.share(kept, 2, {0: 1})).ok
    await rig.running(spec("owners"))

    write_rules(rig, json.dumps({"roots": {"root": {"namespaces": ["other"]}}}))
    answer = await rig.root.offer(spec("more"))
    assert answer.reason == "admission: namespace 'ns' is not among root's: other"
    assert (await rob.offer(of_rob("new", "test"))).accepted  # no rule of the file is rob's now
    Path(rig.bus.layout.admission).unlink()
    assert (await rig.root.offer(spec("more"))).accepted


async def test_a_share_of_resources_counts_what_runs_and_is_reserved(rig: Rig) -> None:
    await rig.join("w1", facts(memory_mb=400))
    rob = await rig.let_in("rob", RootRules(memory_share=0.5))
    (one, other) = (of_rob("one", memory_mb=100), of_rob("other", memory_mb=100))
    assert (await rob.offer(one, 0)).accepted
    assert (await rob.offer(other, 0)).accepted
    refused = await rob.offer(one, 1)
    assert refused.reason == (
        "admission: asks for 100 MiB memory and rob has 200 of 200 in use (memory_share 0.5)"
    )
    assert (await rig.root.offer(spec("owners", memory_mb=150))).accepted
    # More for what runs already is more, too.
    assert (await rob.share(one, 1, {0: 1})).ok
    bigger = of_rob("one", memory_mb=101)
    assert "memory_share" in (await rob.share(bigger, 2, {0: 1})).error
    assert (await rob.share(one, 2, {0: 1})).ok
    # What is taken away makes room, whatever the rules have become meanwhile.
    narrow = RootGrant("rob", "", RootRules(namespaces=(), memory_share=0.5))
    assert (await rig.root.ask(subjects.CTL_ROOT, narrow, m.Answer)).ok
    assert "namespace" in (await rob.share(other, 1, {0: 1, 1: 1})).error
    await until("it runs", lambda: rob.is_running(other))
    assert (await rob.share(other, 1, {})).ok
    await until("it is gone", lambda: rob.place(other) is None)
    wide = RootGrant("rob", "", RootRules(memory_share=0.5))
    assert (await rig.root.ask(subjects.CTL_ROOT, wide, m.Answer)).ok
    assert (await rob.offer(one, 1)).accepted
    free = (await rob.full_state()).aggregate.free
    assert free.memory_mb == 0  # all that is left to it, of the 50 MiB that are free


async def test_an_instance_goes_on_on_another_worker_when_the_rules_have_changed(rig: Rig) -> None:
    first = await rig.join("w1")
    rob = await rig.let_in("rob")
    web = of_rob()
    await rob.offer(web)
    assert (await rob.share(web, 1, {0: 1})).ok
    await until("it runs", lambda: rob.is_running(web))
    write_rules(rig, json.dumps({"roots": {"*": {"namespaces": []}}}))
    assert not (await rob.offer(of_rob("new"))).accepted
    await rig.join("w2")
    await first.vanish()
    place = await until(
        "it runs elsewhere",
        lambda: p if (p := rob.is_running(web)) and p.worker == "w2" else None,
    )
    assert place.observed.state == InstanceState.RUNNING
