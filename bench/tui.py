"""The terminal app under load: 200 workers, 5,000 instances that all change each second.

The root is a fake one in this process, which answers from lists: what is measured is the app
alone, without asking a root over its socket. Prints figures; asserts nothing.

    python -m bench.tui [SECONDS] [INSTANCES] [WORKERS]
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from oakctl.model.events import Event
from oakctl.model.instance import InstanceState
from oakctl.model.views import InstanceView, RootStatus
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.view import FleetView
from tests.tui import fleet

SIZE = (120, 40)
PER_CLUSTER = 50  # workers
VIEWS = (("fleet", "1"), ("services", "2"), ("nodes", "3"), ("instances", "4"), ("events", "5"))


class BusyRoot(fleet.FakeRoot):
    """Everything it says of instances is new each time it is asked."""

    def __init__(self, instances: int, workers: int) -> None:
        super().__init__()
        clusters = range(max(1, workers // PER_CLUSTER))
        self.clusters_ = [fleet.cluster(f"c{n}", last_seen=time.time()) for n in clusters]
        places = [f"c{n % len(clusters)}/w{n:03}" for n in range(workers)]
        self.workers_ = [fleet.worker(*place.split("/")) for place in places]
        self.services_ = [fleet.service(f"S{n:02}") for n in range(40)]
        self.instances_ = [
            fleet.instance(f"S{n % 40:02}", n // 40, places[n % workers]) for n in range(instances)
        ]
        self.beat = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[BusyRoot]:
        """Itself."""
        yield self

    async def status(self) -> RootStatus:
        """With a start that is plausible."""
        return RootStatus(
            "bench", os.getpid(), time.time(), "-", len(self.clusters_), len(self.workers_), 1,
            len(self.instances_), 0,
        )  # fmt: skip

    async def instances(self) -> list[InstanceView]:
        """Each with other figures, some with another state."""
        self.beat += 1
        self.instances_ = [
            replace(
                view,
                cpu_percent=(number * 7 + self.beat) % 100,
                memory_mb=30 + (number + self.beat) % 50,
                state=InstanceState.RUNNING if (number + self.beat) % 20 else InstanceState.FAILED,
            )
            for number, view in enumerate(self.instances_)
        ]
        return self.instances_

    async def events(self, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """Twenty a second."""
        number = 0
        while True:
            number += 1
            yield Event(number, time.time(), "instance.running", "ar.default.S00.default", "runs")
            await asyncio.sleep(0.05)


async def key_latency(app: FleetApp, seconds: float) -> list[float]:
    """How long the loop keeps a key waiting: milliseconds, asked for every 20 ms."""
    found = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        await asyncio.sleep(0.02)
        found.append(max(0.0, (time.monotonic() - began - 0.02) * 1000))
    return sorted(found)


async def main(seconds: float, instances: int, workers: int) -> None:
    """Open the app, show each view for a while."""
    print(f"{workers} workers, {instances} instances, all changing each second; fake root")
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    root = BusyRoot(instances, workers)
    app = FleetApp(root.connect)
    began = time.monotonic()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        print(f"first frame           {(time.monotonic() - began) * 1000:7.0f} ms")
        while not app.feed.snapshot.taken_at:
            await pilot.pause(0.01)
        print(f"painted with all rows {(time.monotonic() - began) * 1000:7.0f} ms")
        print(f"{'view':<10} {'one drawing':>12} {'CPU':>7} {'loop waits, 99 of 100 below':>28}")
        for name, key in VIEWS:
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, FleetView)
            drawn = time.process_time()
            app.screen.refresh_view()
            drawn = time.process_time() - drawn
            cpu, wall = time.process_time(), time.monotonic()
            waits = await key_latency(app, seconds)
            used = (time.process_time() - cpu) / (time.monotonic() - wall)
            print(
                f"{name:<10} {drawn * 1000:9.1f} ms {used:7.1%} "
                f"{waits[int(len(waits) * 0.99) - 1]:25.0f} ms"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at its highest {peak:7.0f} MiB (with the fake root's own lists)")


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        main(
            float(given[0]) if given else 10.0,
            int(given[1]) if len(given) > 1 else 5000,
            int(given[2]) if len(given) > 2 else 200,
        )
    )
