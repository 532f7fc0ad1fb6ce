"""A node of the tests: a driver in a process of its own, in its host's namespaces.

One JSON object a line: {"call": "attach", "argument": "10.18.0.66"}; the answer likewise.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from oakctl.model import wire
from oakctl.model.documents import TablesDocument
from oakctl.model.overlay import OverlayNode
from oakctl.overlay import sight
from oakctl.overlay.kernel import nft, reporting
from oakctl.overlay.kernel.driver import KernelDriver
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.measuring import Measuring
from oakctl.overlay.kernel.paths import Timing
from oakctl.overlay.kernel.planning import Place
from oakctl.overlay.kernel.ruleset import Networks
from oakctl.overlay.plan import desired_overlay

SOON = Timing(first_retry=1.0, longest_retry=8.0, lasting=30.0)  # so that tests need not wait


def answer(driver: KernelDriver, worker: str, call: str, argument: Any) -> Any:
    """Do what is asked for."""
    if call == "apply":
        document = wire.decode(json.dumps(argument).encode(), TablesDocument)
        return driver.apply(desired_overlay(worker, None, document.tables, cluster="edge"))
    if call == "connect":
        return driver.connect([wire.from_plain(node, OverlayNode) for node in argument])
    if call == "look":
        document = wire.decode(json.dumps(argument).encode(), TablesDocument)
        return wire.to_plain(sight.leads_of_maps(document.tables, driver.in_force()[0]))
    if call == "attach_process":
        return driver.attach(*argument)
    method = getattr(driver, call)
    found = method(argument) if argument is not None else method()
    return sorted(found) if isinstance(found, frozenset) else found


async def serve() -> None:
    """Arguments: worker, subnet, directory for state, `library` or `command`; `probing`.

    With that it does what the agent's loops do: neighbours are measured, and ways are looked for.
    """
    worker, subnet, state, way, *more = sys.argv[1:]
    host = Host()
    rules = nft.InProcess() if way == "library" else nft.Command(host)
    driver = KernelDriver(Place(worker, "edge", Networks(subnet)), Path(state), rules=rules)
    loop = asyncio.get_running_loop()
    started: list[KernelDriver] = []
    measuring = Measuring(lambda: started[0] if started else None, SOON)
    running = loop.create_task(measuring.run()) if more else None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        call, argument = asked["call"], asked.get("argument")
        try:
            if call == "paths":
                told = reporting.paths(measuring.view(driver.tunnel.seen()))
                found = {"value": [wire.to_plain(each) for each in told]}
            else:
                found = {"value": answer(driver, worker, call, argument)}
            started[:] = [driver] * (call != "remove" and (call == "start" or bool(started)))
            measuring.watch(driver.neighbours())
        except (OSError, ValueError) as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)  # noqa: T201
    if running is not None:
        running.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
