"""What those who watch a fleet ask besides: the story of one thing, and an empty worker.

Belongs here: small questions and orders of the screens. Does not belong here: what is placed
where after a drain (`orchestration.cluster`).
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from oakctl.api.routes.access import RootOf
from oakctl.model import subjects
from oakctl.model.events import Event
from oakctl.model.messages import WorkerChange
from oakctl.model.views import WorkerView
from oakctl.orchestration.root.store import events

router = APIRouter(prefix="/v1", tags=["watching"])


@router.get("/history")
async def history(root: RootOf, subject: str, limit: int = 200) -> list[Event]:
    """The last events about one thing, by its full name, oldest first."""
    return [*await root.store.run(partial(events.about, subject=subject, limit=limit))]


@router.post("/clusters/{cluster}/workers/{name}/drain")
async def drain(root: RootOf, cluster: str, name: str) -> WorkerView:
    """Give it nothing new and move what it has; its instances follow. Uncordon ends that."""
    await root.worker(cluster, name)
    link = root.clusters.link(cluster)
    await link.order(subjects.CTL_WORKER, WorkerChange(name, drain=True))
    await link.refresh()
    return await root.worker(cluster, name)
