"""A root that would leave when idle stays while an image is made ready."""

from __future__ import annotations

import asyncio
import time

import pytest

from oakctl.client import image_attention
from oakctl.client.root import RootClient
from tests.api.test_serve import process
from tests.root.stage import answers, until


async def test_the_root_stays_while_it_is_attended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_attention, "ASK_EVERY_S", 0.2)
    with process(keep=False, idle=3.0) as child:
        async with RootClient() as root:
            await until("the root", lambda: answers(root), bool)
            async with image_attention.attended(root):
                end = time.monotonic() + 5.0  # longer than it stays by itself
                while time.monotonic() < end:
                    assert child.poll() is None
                    await asyncio.sleep(0.1)
        assert await asyncio.to_thread(child.wait, 60) == 0
