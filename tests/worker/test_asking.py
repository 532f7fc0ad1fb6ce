"""When a worker asks for addresses, and what it does with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import pytest

from oakctl.model.config import BusAccess, WorkerConfig
from oakctl.orchestration.worker import asking
from oakctl.orchestration.worker.fetching import NotDelivered
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay


class Overlay(KernelOverlay):
    """One whose kernel is a set."""

    def __init__(self, prefix: Path) -> None:
        bus = BusAccess("", "edge", "", "w1", "")
        super().__init__(WorkerConfig("w1", "edge", str(prefix), bus), str)
        self.waiting = {"10.30.1.1", "10.30.9.9"}
        self.refused: set[str] = set()

    def asked(self) -> frozenset[str]:
        return frozenset(self.waiting)

    async def refuse(self, addresses: Collection[str]) -> None:
        self.refused |= set(addresses)
        self.waiting -= set(addresses)

    async def used(self) -> frozenset[str]:
        return frozenset({"10.30.1.7"})


async def test_unknown_ones_are_refused_and_open_ones_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_S", 0.0)
    monkeypatch.setattr(asking, "RENEW_S", 0.0)
    overlay, away, renewed = Overlay(tmp_path), [True, True], asyncio.Event()

    async def ask(addresses: tuple[str, ...]) -> frozenset[str]:
        if away:
            away.pop()
            raise NotDelivered("the cluster does not answer")
        if addresses == ("10.30.1.7",):
            overlay.waiting.discard("10.30.1.1")  # its table has come
            renewed.set()
        return frozenset(addresses) & {"10.30.1.1", "10.30.1.7"}

    running = asyncio.ensure_future(asking.run(overlay, ask))
    await asyncio.wait_for(renewed.wait(), 60)
    running.cancel()
    assert overlay.refused == {"10.30.9.9"}
    assert not overlay.waiting
