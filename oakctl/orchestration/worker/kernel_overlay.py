"""The agent's side of the kernel overlay: when what of it is called.

The worker's subnet comes with its first document; until then there is nothing to make. The other
drivers have no namespaces and measure nothing: the functions here do nothing for them. Does not
belong here: the overlay itself (`oakctl.overlay.kernel`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oakctl.errors import OakError
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.node import NodeFacts
from oakctl.overlay.networks import NODE_NETWORK
from oakctl.overlay.plan import NodeOverlay

if TYPE_CHECKING:  # agents with another overlay carry nothing of this one
    from oakctl.overlay.kernel.driver import KernelDriver
    from oakctl.overlay.kernel.elements import Elements
    from oakctl.overlay.kernel.measuring import Measuring
    from oakctl.overlay.kernel.planning import Sight

log = logging.getLogger("oakctl.worker")

NAMESPACES = Path("/run/netns")


class KernelOverlay:
    """The driver of one worker; `subnet` says the worker's own, once it is known."""

    def __init__(self, config: WorkerConfig, subnet: Callable[[], str]) -> None:
        self._config = config
        self._subnet = subnet
        self._state = HostLayout(config.prefix).state("overlay")
        self._made: KernelDriver | None = None
        self._made_for = ""
        self._measuring: Measuring | None = None

    def apply(self, overlay: NodeOverlay) -> bool:
        """See `OverlayDriver`; with its nodes."""
        driver = self.driver()
        if driver is None:
            return False
        changed = driver.apply(overlay)
        self._watch()
        return driver.connect(overlay.nodes) or changed

    def measure_with(self, measuring: Measuring) -> None:
        """Tell it, from now on, which nodes to measure: tables alone change that."""
        self._measuring = measuring
        self._watch()

    def made(self) -> KernelDriver | None:
        """The overlay itself, as far as it is there."""
        return self._made

    def _watch(self) -> None:
        if self._measuring is not None and self._made is not None:
            self._measuring.watch(self._made.neighbours())

    def driver(self) -> KernelDriver | None:
        """The overlay itself, once there is a subnet. Raises OSError where it cannot be made."""
        from oakctl.overlay.kernel.driver import KernelDriver
        from oakctl.overlay.kernel.planning import Place
        from oakctl.overlay.kernel.ruleset import Networks

        subnet = self._subnet()
        if not subnet or self._made_for == subnet:
            return self._made
        # Also where it is enrolled anew: what is there of the former subnet goes as it starts, and
        # the key stays that other nodes were told.
        place = Place(self._config.worker, self._config.cluster, Networks(subnet))
        driver = KernelDriver(place, self._state, port=self._config.tunnel_port)
        driver.start()
        self._made, self._made_for = driver, subnet
        return driver

    def key(self) -> str:
        """What other nodes know this one's tunnel by. Raises OSError."""
        from oakctl.overlay.kernel.tunnel import public_key

        return public_key(self._state)

    def bind_address(self, overlay_ip: str) -> str:
        """See `OverlayDriver`."""
        return overlay_ip

    def local_service_address(self, overlay_ip: str) -> str:
        """See `OverlayDriver`."""
        return overlay_ip

    def relay_pid(self) -> int | None:
        """There is none."""
        return None

    def asked(self) -> frozenset[str]:
        """See `KernelDriver`."""
        return self._made.asked() if self._made is not None else frozenset()

    def refuse(self, addresses: Iterable[str]) -> None:
        """See `KernelDriver`."""
        if self._made is not None:
            self._made.refuse(addresses)

    def used(self) -> frozenset[str]:
        """See `KernelDriver`."""
        return self._made.used() if self._made is not None else frozenset()

    def problems(self) -> tuple[str, ...]:
        """See `OverlayDriver`."""
        return self._made.problems() if self._made is not None else ()

    def in_force(self) -> tuple[Elements, Sight]:
        """See `KernelDriver.in_force`; nothing before there is a subnet."""
        from oakctl.overlay.kernel.elements import Elements
        from oakctl.overlay.kernel.planning import Sight

        return self._made.in_force() if self._made is not None else (Elements(), Sight())


def attach(overlay: object, address: str, pid: int = 0) -> str:
    """The path of the instance's network namespace; empty where it has the host's own network.

    With `pid` it is the one that this process of a container has come with.
    Raises OSError, and ValueError for an address of another node.
    """
    driver = overlay.driver() if isinstance(overlay, KernelOverlay) else None
    return str(NAMESPACES / driver.attach(address, pid)) if driver is not None else ""


def follow(overlay: object, here: Mapping[str, int]) -> None:
    """Let just these instances have a namespace: by address, with a process of each that runs.

    One that runs and has none is a container whose start an agent did not see to its end.
    """
    with _warned():
        driver = overlay.driver() if isinstance(overlay, KernelOverlay) else None
        if driver is None:
            return
        for address in driver.attached() - here.keys():
            with _warned():
                driver.detach(address)
        for address in here.keys() - driver.attached():
            if here[address]:
                with _warned():
                    driver.attach(address, here[address])


@contextlib.contextmanager
def _warned() -> Iterator[None]:
    """One that cannot be helped, such as a process that has just ended, is not in others' way."""
    try:
        yield
    except (OSError, ValueError) as error:
        log.warning("overlay: %s", error)


def with_key(facts: NodeFacts, overlay: object) -> NodeFacts:
    """The facts with this node's public key, or with the reason why it has none."""
    if not isinstance(overlay, KernelOverlay):
        return facts
    try:
        return replace(facts, tunnel_key=overlay.key())
    except OSError as error:
        return replace(facts, overlay_reason=f"no tunnel to other nodes: {error.strerror}")


def remove(config: WorkerConfig) -> None:
    """Take the kernel overlay of a worker away whose agent is gone; raises OakError."""
    if config.overlay_driver != "kernel":
        return
    from oakctl.overlay.kernel.driver import KernelDriver
    from oakctl.overlay.kernel.planning import Place
    from oakctl.overlay.kernel.ruleset import Networks

    # The subnet may be known to nobody any more: all that is of the overlay goes.
    place = Place(config.worker, config.cluster, Networks(NODE_NETWORK))
    try:
        KernelDriver(place, HostLayout(config.prefix).state("overlay")).remove()
    except OSError as error:
        raise OakError(
            f"the kernel overlay cannot be taken away: {error.strerror}",
            hint="the same again, as root",
        ) from error


async def measure(overlay: object) -> None:
    """Measure neighbours, and let the overlay go by it, until cancelled."""
    if not isinstance(overlay, KernelOverlay):
        await asyncio.Event().wait()
        return
    from oakctl.overlay.kernel.measuring import Measuring

    measuring = Measuring(overlay.made)
    overlay.measure_with(measuring)
    try:
        await measuring.run()
    except OSError as error:
        log.warning("overlay: nodes cannot be measured: %s", error)
    await asyncio.Event().wait()
