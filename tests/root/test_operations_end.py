"""Work is under way until it is stored how it ended: no root leaves, and nobody begins, between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from oakctl import paths
from oakctl.orchestration.root import operations
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.operations import Operations, Progress
from oakctl.orchestration.root.store import operations as stored
from oakctl.orchestration.root.store.database import Store

DEADLINE_S = 60.0


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    paths.private_directory(paths.state_directory())
    opened = Store(paths.database())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is stored of an end until this is set."""
    go = threading.Event()
    real = operations._finish

    def finish(*given: object) -> None:
        assert go.wait(DEADLINE_S)
        real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "_finish", finish)
    yield go
    go.set()


async def begun(work: Operations, over: asyncio.Event | None = None) -> int:
    """A piece of work that is over at once; its number."""

    async def do(progress: Progress) -> None:
        if over is not None:
            over.set()

    return (await work.start("it", "cluster edge", lambda db: None, do, "asked")).id


async def test_it_is_under_way_until_its_end_is_stored(store: Store, held: threading.Event) -> None:
    work, over = Operations(store, Bell()), asyncio.Event()
    first = await begun(work, over)
    await over.wait()
    await asyncio.sleep(0)
    assert work.running == 1
    # Asked for once more it is new work, begun when the end of the first is stored.
    again = asyncio.ensure_future(begun(work))
    await asyncio.sleep(0)
    assert not again.done()
    held.set()
    async with asyncio.timeout(DEADLINE_S):
        assert await again > first
        await work.close()
    states = {view.id: view.state for view in await store.run(stored.all_of)}
    assert states[first] == "done"


async def test_a_root_that_closes_meanwhile_stores_the_end_and_no_interruption(
    store: Store, held: threading.Event
) -> None:
    work, over = Operations(store, Bell()), asyncio.Event()
    number = await begun(work, over)
    await over.wait()
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(work.close())
    await asyncio.sleep(0)
    held.set()
    async with asyncio.timeout(DEADLINE_S):
        await closing
    (view,) = await store.run(stored.all_of)
    assert (view.id, view.state) == (number, "done")
    assert work.running == 0
