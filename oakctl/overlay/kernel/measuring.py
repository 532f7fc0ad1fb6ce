"""What a node finds out of others, put together: who answers, how far, and which way leads there.

Belongs here: that direct ways are looked after before it counts who does not answer. Does not
belong here: either of both (`pathfinder`, `probes`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from oakctl.overlay.kernel import paths
from oakctl.overlay.kernel.driver import KernelDriver
from oakctl.overlay.kernel.pathfinder import Pathfinder
from oakctl.overlay.kernel.paths import Timing
from oakctl.overlay.kernel.peers import Seen
from oakctl.overlay.kernel.probes import Probes
from oakctl.overlay.kernel.reporting import View

log = logging.getLogger("oakctl.overlay")


class Measuring:
    """Of one host; `driver` says its overlay, once there is one.

    `measured` takes what is known of the others in its place.
    """

    def __init__(
        self,
        driver: Callable[[], KernelDriver | None],
        timing: Timing = paths.TIMING,
        measured: Callable[[frozenset[str], dict[str, float]], object] | None = None,
    ) -> None:
        self._driver = driver
        self._measured = measured
        self._timing = timing
        self._wanted: frozenset[str] = frozenset()
        self._one_sided: frozenset[str] = frozenset()
        self._of: KernelDriver | None = None
        self.probes = Probes(self._changed, self._look_after_ways)
        self.finder: Pathfinder | None = None

    def watch(self, nodes: Iterable[str]) -> None:
        """Measure these nodes, by their own addresses, and look for direct ways to them."""
        self._wanted = frozenset(nodes)
        self.probes.watch(self._wanted)

    async def run(self) -> None:
        """Go on until cancelled. Raises OSError where the kernel does not let us ask."""
        try:
            await self.probes.run()
        finally:
            self._end()

    def view(self, seen: Sequence[Seen]) -> View:
        """What there is to tell of the ways to others; `seen` are the tunnel's peers."""
        driver, finder = self._driver(), self.finder
        if driver is None:
            return View("", "")
        place, tunnel = driver.place, driver.tunnel
        pairs = finder.pairs() if finder is not None else {}
        return View(
            place.worker,
            place.cluster,
            tunnel.nodes,
            tunnel.base(),
            seen,
            pairs,
            {key: finder.why(key) for key in pairs} if finder is not None else {},
            self.probes.pulses(),
            time.time() - time.monotonic(),
        )

    def _changed(self) -> None:
        driver = self._driver()
        measured = self._measured or (driver.measured if driver is not None else None)
        if measured is not None:
            with contextlib.suppress(OSError):  # told when tables are applied
                unreachable = self.probes.unreachable() | self._one_sided
                measured(unreachable, self.probes.round_trips_ms())

    def _look_after_ways(self) -> None:
        driver = self._driver()
        if driver is not self._of:
            self._end()
            self._begin(driver)
        if self.finder is not None:
            self.finder.tick(self._wanted)
            if (one_sided := self.finder.one_sided()) != self._one_sided:
                self._one_sided = one_sided
                self._changed()

    def _begin(self, driver: KernelDriver | None) -> None:
        self._of = driver
        if driver is None:
            return
        subnet = driver.place.networks.subnet
        finder = Pathfinder(subnet, driver.tunnel, self.probes.forgive, self._timing)
        try:
            finder.open()
        except OSError as error:
            log.warning("overlay: no direct ways: %s", error.strerror or error)
            finder.close()
            return
        self.finder = finder

    def _end(self) -> None:
        if self.finder is not None:
            self.finder.close()
        self.finder = None
