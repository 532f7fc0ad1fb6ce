"""How a connection to the bus begins, where there is nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oakctl.orchestration import bus
from tests.bus_fixture import Bus


async def test_the_first_connection_is_given_up_when_its_time_is_over(tmp_path: Path) -> None:
    nobody = Bus.create(tmp_path / "host")
    connecting = asyncio.create_task(bus.connect(nobody.access("root"), name="root", wait_s=0.5))
    await asyncio.wait([connecting], timeout=60)
    assert connecting.done()
    with pytest.raises(asyncio.TimeoutError):
        connecting.result()


async def test_a_bus_that_comes_within_that_time_is_reached(tmp_path: Path) -> None:
    late = Bus.create(tmp_path / "host")
    connecting = asyncio.create_task(bus.connect(late.access("root"), name="root", wait_s=60))
    await asyncio.sleep(0)
    try:
        late.start()
        client = await connecting
        assert client.is_connected
        await client.close()
    finally:
        late.stop()
