"""Where a descriptor's services would go: asked of real buses, and nothing is changed."""

from __future__ import annotations

import pytest

from oakctl.errors import Conflict, OakError
from oakctl.model.requests import ApplyRequest
from oakctl.tui.viewmodels import preview
from tests.root.descriptor import application, service, talks_to
from tests.root.stage import Stage, populate, until, upload


async def test_clusters_are_asked_in_their_order_and_keep_nothing(stage: Stage) -> None:
    full, free = await stage.cluster("edge", 0), await stage.cluster("cloud", 1)
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        found = await root.preview(ApplyRequest(application(service("Rec", 3))))
        (rec,) = found.services
        assert (rec.is_new, rec.replicas, rec.cluster, rec.worker) == (True, 3, "cloud", "w1")
        asked = [decision.by for decision in rec.decisions]
        assert asked in (["root", "cloud"], ["root", "edge", "cloud"])
        assert full.instances == free.instances == {}
        assert await root.applications() == ()
        told = list(preview.lines(found))
        assert told[0] == "ar.demo.Rec.demo would go to cloud/w1, the first of 3"
        assert any("w1: fits" in line for line in told[1:])


async def test_what_fits_nowhere_is_told_with_every_reason(stage: Stage) -> None:
    await stage.cluster("edge", 0)
    async with stage.root() as root:
        await populate(root, "edge")
        found = await root.preview(ApplyRequest(application(service("Rec"))))
        told = list(preview.lines(found))
        assert told[0] == "ar.demo.Rec.demo would go nowhere now and wait"
        assert any("it is full" in line for line in told[1:])


async def test_it_is_refused_as_applying_would_be(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        with pytest.raises(OakError, match="fault"):
            await root.preview(ApplyRequest(application(service("Rec", memory=-1))))
        lonely = application(service("Obj", connectivity=talks_to("Nobody")))
        with pytest.raises(OakError):
            await root.preview(ApplyRequest(lonely))
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        again = await root.preview(ApplyRequest(application(service("Rec"))))
        assert not again.services[0].is_new
        with pytest.raises(Conflict, match="another descriptor"):
            await root.preview(ApplyRequest(application(service("Rec", memory=65))))
        await until("it to be ready", lambda: root.service("Rec"), lambda v: v.state == "ready")
