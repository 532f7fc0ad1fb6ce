"""Waiting for what a command asked for: one line per change, and a deadline.

Belongs here: following operations and instances until they are as wanted. Does not belong here:
what to wait for in which command.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oakctl.cli.answers import Answers
from oakctl.cli.diagnostics import say
from oakctl.errors import DeadlineExceeded, NotFound, OakError
from oakctl.model.views import InstanceView, OperationView, ServiceView, StepEvent
from oakctl.tui.viewmodels import status, words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

POLL_S = 0.3
LONG_STEP_S = 2.0


async def operation(
    client: RootClient,
    host: str,
    begin: Callable[[], Awaitable[OperationView]],
    *,
    wait: bool,
    timeout_s: float,
) -> OperationView:
    """Begin work on `host` and see it through.

    On a terminal an unknown key is shown and asked about, and a password for sudo where one is
    needed; then the work begins once more.
    Raises what the operation failed with.
    """
    answers = Answers(client)
    while True:
        try:
            view = await begin()
            if not wait:
                say(f"{view.kind} {view.subject}: begun as operation {view.id}")
                return view
            return await _followed(client, view, timeout_s)
        except OakError as error:
            way = await answers.settle_way(error.message)
            if not way and not await answers.settle(host, error.message):
                raise


async def _followed(client: RootClient, view: OperationView, timeout_s: float) -> OperationView:
    steps = _Steps()
    try:
        async with asyncio.timeout(timeout_s):
            return await client.see_through(view.id, steps.tell)
    except asyncio.CancelledError:  # Ctrl-C: the root does not stop for it
        say(f"{view.kind} {view.subject} goes on in the root; the same command follows it again")
        raise
    except TimeoutError:
        raise DeadlineExceeded(
            f"{view.kind} {view.subject} is not done after {words.duration(timeout_s)}",
            hint="it goes on; the same command follows it again",
            details=(f"last: {steps.last}",),
        ) from None
    finally:
        steps.close()


class _Steps:
    """Tells each step when it has ended, and one that takes long while it runs."""

    def __init__(self) -> None:
        self.last = "nothing yet"
        self._running = ("", "")
        self._pending: asyncio.TimerHandle | None = None

    def tell(self, step: StepEvent) -> None:
        """Take in the next event."""
        self.last = step_line(step)
        going_on = (step.host, step.step) if step.state == "running" else ("", "")
        if not going_on[1] or going_on != self._running:
            self.close()
        self._running = going_on
        if not going_on[1]:
            say(self.last)
        elif self._pending is None:
            loop = asyncio.get_running_loop()
            self._pending = loop.call_later(LONG_STEP_S, self._say)

    def _say(self) -> None:
        self._pending = None
        say(self.last)

    def close(self) -> None:
        """Nothing more is told."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None


def step_line(step: StepEvent) -> str:
    """`edge-3 bus: start done 4.1s`."""
    parts = [step.host, step.step, step.state]
    if step.seconds:
        parts.append(words.duration(step.seconds))
    if step.message:
        parts.append(f"({step.message})")
    return " ".join(part for part in parts if part)


@dataclass
class Progress:
    """Tells each change of an instance once."""

    told: dict[str, str] = field(default_factory=dict)

    def tell(self, instances: Sequence[InstanceView]) -> None:
        """Print what is new among `instances`, and which are gone."""
        for view in instances:
            line = instance_line(view)
            if self.told.get(view.name) != line:
                self.told[view.name] = line
                say(line)
        for name in self.told.keys() - {view.name for view in instances}:
            del self.told[name]
            say(f"{words.short_instance(name)} gone")


def instance_line(view: InstanceView) -> str:
    """`Rec.0 running on edge/w1`."""
    line = f"{words.short_instance(view.name)} {status.of_instance(view).word}"
    if view.worker:
        line += f" on {view.cluster}/{view.worker}"
    return f"{line} ({view.reason})" if view.reason else line


def settled(service: ServiceView) -> bool:
    """Whether there is exactly what is wanted of a service."""
    if service.state == "stopped":
        return service.wanted == 0 or service.spec.one_shot
    return service.state == "ready" and service.running <= service.wanted


async def until_settled(
    client: RootClient,
    fetch: Callable[[], Awaitable[Sequence[ServiceView]]],
    timeout_s: float,
) -> None:
    """Wait until every service that `fetch` gives is as wanted; tell each change.

    Raises DeadlineExceeded with the last known state of those that are not.
    """
    progress = Progress()
    deadline = time.monotonic() + timeout_s
    while True:
        services = await fetch()
        instances = [view for service in services for view in await _of(client, service)]
        progress.tell(instances)
        missing = [service for service in services if not settled(service)]
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"{_names(missing)} not ready after {words.duration(timeout_s)}",
                hint=f"oakctl explain {missing[0].job_name}",
                details=tuple(service_line(service) for service in missing),
            )
        await asyncio.sleep(POLL_S)


async def until_gone(client: RootClient, application: str, timeout_s: float) -> None:
    """Wait until an application and all of its instances are gone; tell each change."""
    progress = Progress()
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            view = await client.application(application)
        except NotFound:
            progress.tell([])
            return
        instances = [i for service in view.services for i in await _of(client, service)]
        progress.tell(instances)
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"{application} is not gone after {words.duration(timeout_s)}",
                hint=f"it goes on; oakctl app show {application}",
                details=tuple(instance_line(instance) for instance in instances),
            )
        await asyncio.sleep(POLL_S)


def service_line(service: ServiceView) -> str:
    """`Rec: pending, 0 of 1 ready (asks for 1 vgpus, 0 free)`."""
    line = f"{service.name}: {service.state}, {service.ready} of {service.wanted} ready"
    return f"{line} ({service.reason})" if service.reason else line


def _names(services: Sequence[ServiceView]) -> str:
    return (
        f"{', '.join(service.name for service in services)} {'is' if len(services) == 1 else 'are'}"
    )


async def _of(client: RootClient, service: ServiceView) -> Sequence[InstanceView]:
    try:
        return await client.instances(service.job_name)
    except NotFound:  # its application went between two questions
        return ()
