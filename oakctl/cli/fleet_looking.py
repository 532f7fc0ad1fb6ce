"""What a look at a fleet may have to ask a person: locked and new keys, passwords for sudo.

Belongs here: the questions, each once for all hosts that raise it. Does not belong here: the look
(`oakctl.fleet.looking`), the commands (`cli.fleet`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oakctl.cli import diagnostics, session
from oakctl.cli.answers import UNKNOWN_KEY, Answers
from oakctl.cli.asking import asked
from oakctl.model.views import HostView

if TYPE_CHECKING:
    from oakctl.client.root import RootClient
    from oakctl.fleet.state import Fault, Seen, Wanted

NAMED_AT_MOST = 5  # hosts in a question


async def look(
    client: RootClient, wanted: Wanted, *, accept_new: bool, sudo_password_file: Path | None
) -> Seen:
    """Look at every host of the file; what has to be asked is asked on a terminal, and only there.

    Keys that are not known are shown, and trusted together or not at all. A password is asked
    for once for all hosts with the same login user, and once more for a host where it was wrong.
    """
    from oakctl.fleet import looking

    names = [host.name for host in wanted.hosts]
    await session.give_password(client, names, sudo_password_file)
    trusted: Collection[str] = names if accept_new else ()
    seen = await looking.look(client, wanted, accept_new=trusted)
    if not diagnostics.can_prompt():
        return seen
    answers = Answers(client)
    while [fault for fault in _faults(seen) if await answers.settle_way(fault.message)]:
        seen = await looking.look(client, wanted, accept_new=trusted)
    unknown = _unknown_keys(seen)
    if unknown and await _trusted(unknown):
        trusted = {*trusted, *(fault.host for fault in unknown)}
        seen = await looking.look(client, wanted, accept_new=trusted)
    for grouped in (True, False):
        asking = [host for host in wanted.hosts if host.name in seen.asks_password]
        if not asking:
            break
        await _given(client, _groups(asking) if grouped else [[host] for host in asking])
        seen = await looking.look(client, wanted, accept_new=trusted)
    return seen


def _faults(seen: Seen) -> list[Fault]:
    """Why hosts could not be asked, once for each host."""
    found = {fault.host: fault for each in seen.checks.values() if (fault := each.fault)}
    return list(found.values())


def _unknown_keys(seen: Seen) -> list[Fault]:
    return [fault for fault in _faults(seen) if UNKNOWN_KEY in fault.message]


async def _trusted(unknown: Sequence[Fault]) -> bool:
    for fault in unknown:
        diagnostics.say(fault.message)
        for detail in fault.details:
            diagnostics.say(f"  {detail}")
    return await asked(diagnostics.ask, "Trust these hosts from now on?")


def _groups(hosts: Sequence[HostView]) -> list[list[HostView]]:
    """Hosts with the same login user: they are usually set up alike."""
    found: dict[str, list[HostView]] = {}
    for host in hosts:
        found.setdefault(host.user, []).append(host)
    return list(found.values())


async def _given(client: RootClient, groups: Sequence[Sequence[HostView]]) -> None:
    for group in groups:
        named = ", ".join(host.name for host in group[:NAMED_AT_MOST])
        more = len(group) - NAMED_AT_MOST
        text = f"{named} and {more} more" if more > 0 else named
        password = await asked(diagnostics.ask_password, text)
        for host in group:
            await client.give_password(host.name, password)
