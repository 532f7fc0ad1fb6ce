"""Work on hosts that one command begins and sees through: a password, a key, the wait, the end.

Belongs here: what `cluster create`, `worker add` and the removals have in common. Does not belong
here: following an operation (`cli.waiting`), many at a time (`cli.fleet`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oakctl.cli import diagnostics, session, waiting
from oakctl.model.views import OperationView

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

Begin = Callable[[], Awaitable[OperationView]]


@dataclass(frozen=True)
class Manner:
    """How it is carried out, by the options that these commands share."""

    sudo_password_file: Path | None
    wait: bool
    timeout_s: float


def carry_out(
    prepare: Callable[[RootClient], Awaitable[tuple[str, Begin]]], manner: Manner, done: str
) -> None:
    """Begin what `prepare` gives (its host, and how to begin), see it through, and say `done`.

    Where every step held already, that is said. Raises what it failed with.
    """

    async def main() -> OperationView:
        async with session.root() as client:
            host, begin = await prepare(client)
            await session.give_password(client, [host], manner.sudo_password_file)
            return await waiting.operation(
                client, host, begin, wait=manner.wait, timeout_s=manner.timeout_s
            )

    view = session.run(main())
    if not manner.wait:
        return
    held = bool(view.steps) and all(step.state == "skipped" for step in view.steps)
    diagnostics.say(f"nothing to do: {done}" if held else done)
