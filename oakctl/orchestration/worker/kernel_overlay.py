"""The agent's side of the kernel overlay: when what of it is called.

The worker's subnet comes with its first document; until then there is nothing to make. The other
drivers have no namespaces and measure nothing: the functions here do nothing for them. Does not
belong here: the overlay itself (`oakctl.overlay.kernel`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from oakctl.errors import OakError
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.node import NodeFacts
from oakctl.orchestration.worker.in_order import InOrder
from oakctl.orchestration.worker.launch import NotYet
from oakctl.overlay.networks import NODE_NETWORK
from oakctl.overlay.plan import NodeOverlay

if TYPE_CHECKING:  # agents with another overlay carry nothing of this one
    from oakctl.orchestration.worker.overlay import OverlayDriver
    from oakctl.overlay.kernel.driver import KernelDriver
    from oakctl.overlay.kernel.elements import Elements
    from oakctl.overlay.kernel.measuring import Measuring
    from oakctl.overlay.kernel.mended import Mend
    from oakctl.overlay.kernel.planning import Sight

log = logging.getLogger("oakctl.worker")

NAMESPACES = Path("/run/netns")


class KernelOverlay:
    """The driver of one worker; `subnet` says the worker's own, once it is known.

    What runs programs is done in a thread of its own, in order (`in_order`); `changed` is called
    when instances no longer have to wait for something of it.
    """

    def __init__(
        self,
        config: WorkerConfig,
        subnet: Callable[[], str],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._subnet = subnet
        self._changed = changed
        self._state = HostLayout(config.prefix).state("overlay")
        self._made: KernelDriver | None = None
        self._made_for = ""
        self._measuring: Measuring | None = None
        self._line = InOrder("overlay")
        self._laid: dict[str, Future[str]] = {}  # instance's address → its namespace, for one start
        self._down: frozenset[str] = frozenset()
        self._told: tuple[str, ...] = ()
        self._mended: dict[str, Mend] = {}
        self._failed = ""  # why the newest tables are not in force
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def apply(self, overlay: NodeOverlay) -> bool:
        """See `OverlayDriver`; with its nodes. It is done soon, what fails is logged."""
        self._line.do(lambda: self._apply(overlay), "tables")
        return True

    def measured(self, unreachable: Iterable[str], round_trips_ms: Mapping[str, float]) -> None:
        """See `KernelDriver`; soon."""
        self._line.do(lambda: self._measured(unreachable, round_trips_ms), "measured")

    def follow(self, here: Mapping[str, tuple[int, bool]]) -> None:
        """See `follow`; soon."""
        self._down = frozenset(
            address
            for address, (pid, ready) in here.items()
            if not pid or (address in self._down and not ready)
        )
        for address in self._laid.keys() - here.keys():
            del self._laid[address]
        pids = {address: pid for address, (pid, _) in here.items()}
        down = self._down
        made = self._made
        if made is None or made.attached() != here.keys() or made.idle() != down & made.attached():
            self._line.do(lambda: self._follow(pids, down), "instances")

    def namespace(self, address: str) -> str:
        """The path of the namespace of the instance with this address, for one start of it.

        Raises NotYet while it is being made; OSError and ValueError as `KernelDriver.attach`.
        """
        begun = self._laid.get(address)
        if begun is None:
            begun = self._laid[address] = self._line.do(lambda: self._attach(address))
            begun.add_done_callback(lambda _: self._soon(self._changed))
        if not begun.done():
            raise NotYet
        del self._laid[address]
        return begun.result()

    async def connect(self, address: str, pid: int) -> None:
        """Give a process of a container its interface. Raises as `KernelDriver.attach`."""
        await asyncio.wrap_future(self._line.do(lambda: self._attach(address, pid)))

    def wait(self, seconds: float) -> None:
        """Until all is done that was to be done soon."""
        self._line.do(lambda: None).result(seconds)

    def measure_with(self, measuring: Measuring) -> None:
        """Tell it, from now on, which nodes to measure: tables alone change that."""
        self._measuring = measuring
        self._watch()

    def measuring(self) -> Measuring | None:
        """What measures nodes, once it does."""
        return self._measuring

    def made(self) -> KernelDriver | None:
        """The overlay itself, as far as it is there."""
        return self._made

    def _apply(self, overlay: NodeOverlay) -> None:
        try:
            driver = self.driver()
            if driver is not None:
                driver.apply(overlay)
                self._soon(self._watch)
                driver.connect(overlay.nodes)
            self._failed = ""
        except OSError as error:
            self._failed = f"tables are not in force here: {error.strerror or error}"
            log.warning("overlay: %s", self._failed)

    def _measured(self, unreachable: Iterable[str], round_trips_ms: Mapping[str, float]) -> None:
        with contextlib.suppress(OSError):  # told when tables are applied
            driver = self.driver()
            if driver is not None:
                driver.measured(unreachable, round_trips_ms)

    def _follow(self, here: Mapping[str, int], down: frozenset[str]) -> None:
        with _warned():
            driver = self.driver()
            if driver is None:
                return
            with _warned():
                driver.down(down & driver.attached())
            for address in driver.attached() - here.keys():
                with _warned():
                    driver.detach(address)
            for address in here.keys() - driver.attached():
                if here[address]:
                    with _warned():
                        driver.attach(address, here[address])

    def _attach(self, address: str, pid: int = 0) -> str:
        driver = self.driver()
        return str(NAMESPACES / driver.attach(address, pid)) if driver is not None else ""

    def _soon(self, what: Callable[[], None]) -> None:
        """In the agent's own thread; never, when that has ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(what)

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

    async def refuse(self, addresses: Collection[str]) -> None:
        """See `KernelDriver`."""
        made = self._made
        if made is not None and addresses:
            await asyncio.wrap_future(self._line.do(lambda: made.refuse(addresses)))

    async def used(self) -> frozenset[str]:
        """See `KernelDriver`."""
        made = self._made
        if made is None:
            return frozenset()
        return frozenset(await asyncio.wrap_future(self._line.do(made.used)))

    def problems(self) -> tuple[str, ...]:
        """See `OverlayDriver`: as of the last look (`look`)."""
        return self._told

    def _look(self) -> tuple[str, ...]:
        from oakctl.overlay.kernel import mended

        found: tuple[str, ...] = (self._failed,) if self._failed else ()
        try:
            if self._made is not None:
                new = self._made.mend()
                self._mended = mended.remembered(self._mended, new, time.time(), time.monotonic())
                found += self._made.standing()
        except OSError as error:
            found += (f"the overlay cannot be looked at: {error.strerror or error}",)
        self._told = (*found, *mended.told(self._mended))
        return self._told

    async def look(self) -> tuple[tuple[str, ...], Elements, Sight]:
        """The problems that there are now, and what is in force; see `KernelDriver`."""
        from oakctl.overlay.kernel.elements import Elements
        from oakctl.overlay.kernel.planning import Sight

        problems = await asyncio.wrap_future(self._line.do(self._look, "problems"))
        made = self._made
        if made is None:
            return problems, Elements(), Sight()
        elements, sight = await asyncio.wrap_future(self._line.do(made.in_force))
        return problems, elements, sight


def attach(overlay: object, address: str) -> str:
    """The path of the instance's network namespace; empty where it has the host's own network.

    Raises NotYet while it is being made; OSError, and ValueError for an address of another node.
    """
    return overlay.namespace(address) if isinstance(overlay, KernelOverlay) else ""


async def connect(overlay: object, address: str, pid: int) -> None:
    """Let the instance have the network that this process of its container has come with.

    Raises as `attach`.
    """
    if isinstance(overlay, KernelOverlay):
        await overlay.connect(address, pid)


async def problems(overlay: OverlayDriver) -> tuple[str, ...]:
    """What does not work now, in words, of whatever overlay there is."""
    if isinstance(overlay, KernelOverlay):
        found, _, _ = await overlay.look()
        return found
    try:
        return overlay.problems()
    except OSError as error:
        return (f"the overlay cannot be looked at: {error.strerror or error}",)


def follow(overlay: object, here: Mapping[str, tuple[int, bool]]) -> None:
    """Let just these instances have a namespace: by address, with a process of each that runs, and
    whether it is ready.

    One that runs and has none is a container whose start an agent did not see to its end. New flows
    go to none of which nothing runs, and again when it is ready.
    """
    if isinstance(overlay, KernelOverlay):
        overlay.follow(here)


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
    state = Path(HostLayout(config.prefix).state("overlay"))
    if config.overlay_driver != "kernel" and not state.exists():  # it may have been before
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

    measuring = Measuring(overlay.made, measured=overlay.measured)
    overlay.measure_with(measuring)
    try:
        await measuring.run()
    except OSError as error:
        log.warning("overlay: nodes cannot be measured: %s", error)
    await asyncio.Event().wait()
