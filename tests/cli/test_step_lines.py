"""What is said of the steps of an operation while it is waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from oakctl.cli import waiting
from oakctl.model.views import StepEvent


async def test_a_long_step_is_told_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(waiting, "say", said.append)
    monkeypatch.setattr(waiting, "LONG_STEP_S", 0.05)
    steps = waiting._Steps()
    deadline = time.monotonic() + 20
    number = 0
    while len(said) < 2:  # each word of it comes before the step has taken long
        number += 1
        steps.tell(StepEvent(0.0, "edge-1", "bus: nats-server", "running", f"{number} of 17 MiB"))
        await asyncio.sleep(0.01)
        assert time.monotonic() < deadline
    assert said[0] != said[1], "the newest is told"

    steps.tell(StepEvent(0.0, "edge-1", "bus: nats-server", "done", "", 4.1))
    assert said[-1] == "edge-1 bus: nats-server done 4.1s"
    assert steps._pending is None, "nothing more is told of it"
