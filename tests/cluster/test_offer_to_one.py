"""An offer that names a worker: that one or none."""

from __future__ import annotations

from oakctl.model import messages as m
from oakctl.model import subjects
from tests.cluster.rig import Rig, spec


async def test_it_goes_to_the_worker_that_is_named_or_to_none(rig: Rig) -> None:
    await rig.join("w1")
    await rig.join("w2")
    web = spec()
    for number, name in enumerate(("w2", "w1", "w2")):
        asked = m.Offer(web, number, 1, 0.0, name)
        told = await rig.root.ask(subjects.CTL_EXPLAIN, asked, m.OfferAnswer)
        given = await rig.root.ask(subjects.CTL_OFFER, asked, m.OfferAnswer)
        assert (told.worker, given.worker) == (name, name)
        assert [verdict.candidate for verdict in given.verdicts] == [name]
    nobody = await rig.root.ask(subjects.CTL_OFFER, m.Offer(web, 3, 1, 0.0, "w9"), m.OfferAnswer)
    assert not nobody.accepted
    assert nobody.reason == "no worker fits: w9: there is no such worker"
