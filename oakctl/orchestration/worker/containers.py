"""Whether this node has containers, and the loading of what runs them.

Belongs here: everything of the runtime `docker` that an agent without Docker carries, which is
this file. The package `docker` beside it, and the SDK, are imported once a socket is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from oakctl.model import wire
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.node import ContainerFacts, ContainerGrants
from oakctl.model.secrets import SecretValue
from oakctl.orchestration import waits
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.artifacts import Artifacts
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.overlay import OverlayDriver
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import NoRuntime, Runtime
from oakctl.orchestration.worker.secrets import Secrets
from oakctl.orchestration.worker.supplies import ImageStore, NoImages

if TYPE_CHECKING:
    from oakctl.orchestration.worker.docker.exec import Executions
    from oakctl.orchestration.worker.docker.parts import Parts

log = logging.getLogger("oakctl.worker.containers")

Login = Callable[[str], Awaitable[SecretValue | None]]  # an image → that for its registry
USUAL_SOCKET = "/var/run/docker.sock"
LOOK_EVERY_S = 5.0
FIRST_ANSWER_S = 5.0


class Containers:
    """The runtime for containers, real or absent; `changed` hears of what a node can do."""

    def __init__(
        self,
        config: WorkerConfig,
        files: InstanceFiles,
        artifacts: Artifacts,
        overlay: OverlayDriver,
        wake: Callable[[], None],
        changed: Callable[[ContainerFacts], None],
        secrets: Secrets,
        login: Login,
    ) -> None:
        self._config = config
        self._files = files
        self._artifacts = artifacts
        self._overlay = overlay
        self._wake = wake
        self._changed = changed
        self._secrets = secrets
        self._login = login
        self._parts: Parts | None = None
        self._socket = socket_of(config)
        self._asked = asyncio.Event()
        reason = self._why_not()
        self.facts = ContainerFacts(reason=reason)
        self.runtime: Runtime = NoRuntime(reason)
        self.images: ImageStore = NoImages(reason)

    async def run_until_cancelled(self) -> None:
        """Wait for Docker's socket, then keep the runtime going; ends only by being cancelled."""
        self._changed(self.facts)
        while True:
            if self._there():
                break
            self._asked.set()
            await asyncio.sleep(LOOK_EVERY_S)
        from oakctl.orchestration.worker.docker.parts import Parts

        self._parts = Parts(
            self._config, self._socket, self._grants(), self._files, self._artifacts,
            self._overlay, self._wake, self._on_facts, self._secrets, self._login,
        )  # fmt: skip
        self.runtime, self.images = self._parts.runtime, self._parts.images
        await self._parts.run()

    def _why_not(self) -> str:
        if not self._socket:
            return NOT_IN_A_LAB
        if self._there():
            return "Docker has not answered yet"
        return f"there is no Docker here: no {self._socket}"

    def _there(self) -> bool:
        return bool(self._socket) and Path(self._socket).exists()

    async def asked(self) -> None:
        """Wait until Docker has said what runs, or is known to say nothing; some seconds at most.

        An agent that reported before would take what runs for what is being created.
        """
        await waits.set_within(self._asked, FIRST_ANSWER_S)

    async def freshen_log(self, known: Record) -> None:
        """Get what the instance has said since; nothing to do where it writes by itself."""
        if self._parts is not None and known.desired.service.virtualization == "container":
            await self._parts.outputs.freshen(known)

    async def run(self, known: Record, command: tuple[str, ...], timeout_s: float) -> bool:
        """Run a command inside an instance's container; whether it ended well."""
        if self._parts is None:
            return False
        return await self._parts.runtime.run(known, command, timeout_s)

    @property
    def executions(self) -> Executions | None:
        """Sessions with containers; None where there is no Docker."""
        return self._parts.executions if self._parts is not None else None

    async def close(self) -> None:
        """End what is under way; containers go on."""
        if self._parts is not None:
            await self._parts.close()

    def _on_facts(self, found: ContainerFacts) -> None:
        self.facts = found
        self._asked.set()
        self._changed(found)

    def _grants(self) -> ContainerGrants:
        path = Path(HostLayout(self._config.prefix).grants)
        try:
            return wire.decode(path.read_bytes(), ContainerGrants)
        except FileNotFoundError:
            return ContainerGrants()
        except (OSError, wire.Malformed) as error:
            words = storage.in_words(error) if isinstance(error, OSError) else str(error)
            log.error("%s: %s: containers are granted nothing", path, words)
            return ContainerGrants()


NOT_IN_A_LAB = "a loopback lab runs no containers"


def socket_of(config: WorkerConfig) -> str:
    """Where Docker listens; empty: none is used. A loopback lab leaves the machine's alone."""
    if config.docker_socket:
        return config.docker_socket
    return "" if config.overlay_driver == "loopback" else USUAL_SOCKET
