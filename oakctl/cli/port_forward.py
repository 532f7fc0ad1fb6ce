"""`oakctl service port-forward`: a port of this machine that leads to instances of a service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, session
from oakctl.cli.grammar import examples
from oakctl.errors import Conflict, OakError, UsageError
from oakctl.model.sessions import not_forwarded

if TYPE_CHECKING:
    from oakctl.client.forwarding import Forwarding
    from oakctl.client.root import RootClient

Service = Annotated[str, typer.Argument(help="The service, short where that is unique.")]
Ports = Annotated[
    list[str],
    typer.Argument(metavar="[LOCAL:]PORT...", help="Its port, and the one here (0: any)."),
]


@dataclass(frozen=True)
class Wanted:
    """A port here and the service's."""

    local: int
    port: int


def port_forward(service: Service, ports: Ports) -> None:
    """Listen on 127.0.0.1, and lead each connection to a ready instance, in turn.

    Goes on until Ctrl-C. TCP alone: UDP is not forwarded. Only ports that the service's
    descriptor names are led to.
    """
    wanted = [read(given) for given in ports]

    async def main() -> None:
        async with session.root() as client:
            await _forward(client, service, wanted)

    session.run(main())


async def _forward(client: RootClient, service: str, wanted: list[Wanted]) -> None:
    from oakctl.client.forwarding import Forwarding

    view = await client.service(service)
    refused = [words for one in wanted if (words := not_forwarded(view.spec, one.port))]
    if refused:
        raise UsageError(f"{view.name}: {refused[0]}", hint=f"oakctl service show {view.name}")
    async with contextlib.AsyncExitStack() as stack:
        for one in wanted:
            forwarding = Forwarding(client, view.job_name, one.port, _told(view.name))
            server = await _listening(forwarding, one)
            stack.callback(server.close)
            local = server.sockets[0].getsockname()[1]
            diagnostics.say(f"127.0.0.1:{local} leads to port {one.port} of {view.name}")
            stack.push_async_callback(forwarding.close)
        # A root that somebody listens to does not leave; when it goes, this says so.
        async for _ in client.events(after=-1, follow=True):
            pass


async def _listening(forwarding: Forwarding, wanted: Wanted) -> asyncio.Server:
    try:
        return await asyncio.start_server(forwarding.serve, "127.0.0.1", wanted.local)
    except OSError as error:
        raise Conflict(
            f"cannot listen on 127.0.0.1:{wanted.local}: {error.strerror}",
            hint=f"another one: 0:{wanted.port} takes any that is free",
        ) from error


def _told(name: str) -> Callable[[OakError], None]:
    return lambda error: diagnostics.warn(f"{name}: a connection: {error.message}")


def read(given: str) -> Wanted:
    """`[LOCAL:]PORT`; raises UsageError."""
    local, separator, port = given.rpartition(":")
    numbers = (local if separator else port, port)
    if not all(one.isdigit() and int(one) < 65536 for one in numbers) or int(port) == 0:
        raise UsageError(
            f"{given!r} is not [LOCAL:]PORT", hint="oakctl service port-forward --help"
        )
    return Wanted(int(numbers[0]), int(port))


def register(app: typer.Typer) -> None:
    """Add the command to its noun."""
    app.command(
        "port-forward",
        epilog=examples(
            "oakctl service port-forward Rec 8080",
            "oakctl service port-forward Rec 9000:8080 0:9100",
        ),
    )(port_forward)
