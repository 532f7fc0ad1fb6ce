"""What the agent needs of an overlay driver, and which driver a node has.

Belongs here: the protocol and the choice. Does not belong here: the drivers (`oakctl.overlay`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from oakctl.errors import UsageError
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay
from oakctl.overlay.host import HostDriver
from oakctl.overlay.loopback.driver import LoopbackDriver
from oakctl.overlay.plan import NodeOverlay


class OverlayDriver(Protocol):
    """Makes one node's overlay so."""

    def apply(self, overlay: NodeOverlay) -> bool:
        """Idempotent; raises OSError."""

    def bind_address(self, overlay_ip: str) -> str:
        """The address an instance with this overlay address listens on."""

    def local_service_address(self, overlay_ip: str) -> str:
        """The address at which instances here reach a service."""

    def relay_pid(self) -> int | None:
        """The process that forwards, where there is one."""

    def problems(self) -> tuple[str, ...]:
        """What does not work, in words."""


def driver_for(
    config: WorkerConfig,
    subnet: Callable[[], str] = str,
    changed: Callable[[], None] = lambda: None,
) -> OverlayDriver:
    """The driver that the configuration names; raises UsageError for one that is not there.

    `subnet` says the worker's own, once it is known; `changed` is called when something has come
    about that instances wait for.
    """
    if config.overlay_driver == "host":
        return HostDriver(config.address)
    if config.overlay_driver == "kernel":
        return KernelOverlay(config, subnet, changed)
    if config.overlay_driver != "loopback":
        raise UsageError(
            f"overlay driver {config.overlay_driver!r} is not known here",
            hint='set "overlay_driver" in worker.json to "loopback", "kernel" or "host"',
        )
    if config.loopback_number is None:
        raise UsageError(
            "the loopback overlay needs a loopback number",
            hint='set "loopback_number" in worker.json to the host\'s even number',
        )
    return LoopbackDriver(Path(HostLayout(config.prefix).state("")), config.loopback_number)
