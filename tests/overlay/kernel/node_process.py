"""A node of the tests: a driver in a process of its own, in its host's namespaces.

One JSON object a line: {"call": "attach", "argument": "10.18.0.66"}; the answer likewise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

from oakctl.model import wire
from oakctl.model.documents import TablesDocument
from oakctl.model.overlay import OverlayNode
from oakctl.overlay.kernel import nft
from oakctl.overlay.kernel.driver import KernelDriver
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.planning import Place
from oakctl.overlay.kernel.probes import Probes
from oakctl.overlay.kernel.ruleset import Networks
from oakctl.overlay.plan import desired_overlay


def answer(driver: KernelDriver, worker: str, call: str, argument: Any) -> Any:
    """Do what is asked for."""
    if call == "apply":
        document = wire.decode(json.dumps(argument).encode(), TablesDocument)
        return driver.apply(desired_overlay(worker, None, document.tables, cluster="edge"))
    if call == "connect":
        return driver.connect([wire.from_plain(node, OverlayNode) for node in argument])
    if call == "attach_process":
        return driver.attach(*argument)
    method = getattr(driver, call)
    found = method(argument) if argument is not None else method()
    return sorted(found) if isinstance(found, frozenset) else found


async def measure(driver: KernelDriver, lock: threading.Lock) -> None:
    """What the agent's loop does: neighbours are probed, and the driver hears of them."""

    def changed() -> None:
        with lock, contextlib.suppress(OSError):  # the rules of the node are just gone
            driver.measured(probes.unreachable(), probes.round_trips_ms())

    probes = Probes(changed)
    running = asyncio.ensure_future(probes.run())
    while not running.done():
        with lock:
            probes.watch(driver.neighbours())
        await asyncio.sleep(0.1)
    await running


def main() -> None:
    """Arguments: worker, subnet, directory for state, `library` or `command`; `probing`."""
    worker, subnet, state, way, *more = sys.argv[1:]
    host = Host()
    rules = nft.InProcess() if way == "library" else nft.Command(host)
    driver = KernelDriver(Place(worker, "edge", Networks(subnet)), Path(state), rules=rules)
    lock = threading.Lock()
    if more:
        measuring = threading.Thread(target=lambda: asyncio.run(measure(driver, lock)), daemon=True)
        measuring.start()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with lock:
                found = {"value": answer(driver, worker, asked["call"], asked.get("argument"))}
        except (OSError, ValueError) as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
