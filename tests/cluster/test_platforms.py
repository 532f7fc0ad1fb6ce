"""Mixed fleets: each worker gets its own code, and what one has found is remembered."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from oakctl.model import messages as m
from oakctl.model import subjects
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.node import ContainerFacts, NodeFacts
from oakctl.model.service import Code, ServiceSpec
from tests.cluster.rig import TIMERS, Rig, Worker, facts, running_rig, spec, until

PATIENT = replace(TIMERS, suspect_s=10.0, dead_s=20.0)  # nobody dies here
AMD, ARM = "linux/amd64", "linux/arm64"


def node(platform: str, number: int) -> NodeFacts:
    architecture = "x86_64" if platform == AMD else "aarch64"
    return replace(
        facts(loopback=number),
        architecture=architecture,
        runtimes=("process", "container"),
        containers=ContainerFacts("Docker", platform=platform),
    )


async def mixed(rig: Rig) -> tuple[Worker, Worker]:
    return await rig.join("pc", node(AMD, 2)), await rig.join("pi", node(ARM, 4))


def only(worker: Worker) -> ServiceSpec:
    (instance,) = worker.desired.instances
    return instance.service


async def test_each_worker_gets_the_code_for_its_architecture(tmp_path: Path) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        pc, pi = await mixed(rig)
        both = spec(
            "web",
            memory_mb=300,
            virtualization="container",
            codes=(Code("x86_64", "web:1"), Code("aarch64", "web:1-arm")),
            architectures=("x86_64", "aarch64"),
        )
        places = await rig.deployed(both, 2)
        assert {place.worker for place in places} == {"pc", "pi"}
        assert (only(pc).code, only(pi).code) == ("web:1", "web:1-arm")
        assert only(pc).codes == only(pi).codes == ()
        arm = spec("arm", virtualization="container", codes=both.codes[1:])
        one = replace(arm, architectures=("aarch64",))
        answer = await rig.root.ask(
            subjects.CTL_EXPLAIN, m.Offer(one, 0, 1, time.time() + 5), m.OfferAnswer
        )
        assert answer.worker == "pi"
        reasons = {verdict.candidate: verdict.reasons for verdict in answer.verdicts}
        assert "architecture x86_64 is not among aarch64" in reasons["pc"]


async def test_a_platform_that_a_registry_lacks_is_remembered(tmp_path: Path) -> None:
    async with running_rig(tmp_path, PATIENT) as rig:
        pc, pi = await mixed(rig)
        pi.obeys = pc.obeys = False
        web = spec("web", virtualization="container", code="registry.example/web:1")
        accepted = await rig.root.offer(web)
        assert accepted.accepted
        assert (await rig.root.share(web, 1, {0: 1})).ok
        first, second = (pc, pi) if accepted.worker == "pc" else (pi, pc)
        lacks = AMD if first is pc else ARM
        await until("it to be told", lambda: first.desired.instances)
        epoch = first.desired.instances[0].epoch
        first.instances = {
            (web.job_name, 0): ObservedInstance(
                web.job_name, 0, epoch, InstanceState.CREATING, time.time(),
                reason=f"there is none for {lacks}", unfit=lacks,
            )
        }  # fmt: skip
        first.changed()
        second.obeys = True
        place = await rig.running(web)
        assert place.worker == second.name
        again = await rig.root.ask(
            subjects.CTL_EXPLAIN, m.Offer(web, 1, 1, time.time() + 5), m.OfferAnswer
        )
        reasons = {verdict.candidate: verdict.reasons for verdict in again.verdicts}
        assert reasons[first.name] == (
            f"image registry.example/web:1 has no {lacks} in its registry, as a worker has found",
        )
        # Of another service nothing was found out.
        other = replace(web, job_name="app.ns.other.ns")
        found = await rig.root.ask(
            subjects.CTL_EXPLAIN, m.Offer(other, 0, 1, time.time() + 5), m.OfferAnswer
        )
        assert all(verdict.fits for verdict in found.verdicts)
