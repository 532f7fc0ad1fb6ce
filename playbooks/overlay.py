"""Overlay: what service addresses and the tunnel between nodes take: nftables, WireGuard.

The kernel's WireGuard where there is one, else the program wireguard-go. Where something cannot be
had the worker is made without an overlay, and that is said with the reason; only who asks for the
kernel overlay by name is refused then. Package sources are never added.
"""

from __future__ import annotations

from oakctl.errors import OakError
from oakctl.remote import changes, overlay_choice, overlay_host, packages, wireguard
from oakctl.remote.overlay_choice import HOST, KERNEL, Found, Wanted
from oakctl.remote.overlay_host import GIVEN_UP, NAME
from oakctl.remote.step import CommandFailed, Remote, Step


def steps(overlay: str = "") -> list[Step]:
    """`overlay`: "kernel" or "host" where that was asked for."""
    return [parts(overlay)]


def undo() -> list[Step]:
    return [take_away()]


def parts(asked: str) -> Step:
    known: dict[str, str] = {}  # what a check has found out is not asked for again

    def check(remote: Remote) -> str:
        first = overlay_choice.by_facts(remote.facts, remote.residence, asked)
        known["overlay"] = str(first)
        if first.driver != KERNEL:
            refuse(remote, asked, first.reason)
            return ""
        found = overlay_host.tried(remote)
        last = overlay_host.concluded(remote, found)
        known["overlay"] = str(last)
        complete = not found.packages and not found.needs_program
        if complete or overlay_choice.is_light(remote.facts):
            refuse(remote, asked, last.reason if last.driver == HOST else "")
            return ""
        return "" if GIVEN_UP in known else missing(remote, found, asked)

    def apply(remote: Remote) -> str:
        found = overlay_host.tried(remote)
        try:
            install(remote, found)
        except OakError as error:
            # Of another kind it is the connection's or a password's, and no word on packages.
            if asked == KERNEL or type(error) not in (OakError, CommandFailed):
                raise
            why = error.message.removeprefix(f"{remote.name}: ")
            reason = why if why == listed(found) else f"{listed(found)}: {why}"
            offered = not wanted(remote, found).problem
            known[GIVEN_UP] = reason
            changes.record(remote, NAME, {GIVEN_UP: reason, "offered": offered})
            return f"not to be had, so the host's own network is used: {reason}"
        changes.record(remote, NAME, {GIVEN_UP: ""})
        return str(overlay_choice.by_probe(overlay_host.tried(remote)))

    def note(_: Remote) -> str:
        return known.get("overlay", "")

    return Step("overlay: what it takes", check, apply, name="parts", note=note)


def missing(remote: Remote, found: Found, asked: str) -> str:
    """What is to be done, or nothing where it was tried in vain before."""
    noted = given_up(remote) if asked != KERNEL else {}
    if noted.get("offered"):
        return ""
    needed = wanted(remote, found)
    if needed.problem and asked != KERNEL and (noted or needed.is_final):
        return ""
    if needed.problem:
        return f"{needed.problem}: they are read anew"
    return f"not installed: {', '.join(name for name, _ in needed.names)}"


def refuse(remote: Remote, asked: str, reason: str) -> None:
    """Raises OakError where the kernel overlay was asked for and cannot be."""
    if reason and asked == KERNEL:
        raise OakError(
            f"{remote.name} cannot have the kernel overlay: {reason}",
            hint="leave `overlay` away, and it is made without one",
        )


def given_up(remote: Remote) -> changes.Entry:
    """What is noted when this worker was made, and its overlay tried in vain; else nothing.

    `offered`: the package sources had what it takes, and it did not come.
    """
    if remote.read(remote.layout.etc("worker.json")) is None:
        return {}
    noted = changes.read(remote).get(NAME, {})
    return noted if noted.get(GIVEN_UP) else {}


def wanted(remote: Remote, found: Found) -> Wanted:
    if remote.run("command -v apt-get", check=False).exit_code != 0:
        return Wanted(problem="this system has no apt", is_final=True)
    known = packages.known(remote, found.packages)
    if lost := [name for name in found.packages if name not in known]:
        return Wanted(problem=f"its package sources have no {', '.join(lost)}")
    names = [(name, "") for name in found.packages]
    if found.needs_program:
        offered = wireguard.offers(packages.versions(remote, wireguard.PROGRAM))
        offer = wireguard.choose("", offered, "").offer or next(iter(offered), None)
        if offer is None:
            return Wanted(problem=f"its package sources have no {wireguard.PROGRAM}")
        backports = offer.release if offer.release.endswith("-backports") else ""
        names.append((wireguard.PROGRAM, backports))
    return Wanted(tuple(names))


def install(remote: Remote, found: Found) -> None:
    """Raises OakError with why not all could be had."""
    needed = wanted(remote, found)
    if needed.problem and not needed.is_final:
        packages.update(remote)
        needed = wanted(remote, found)
    if needed.problem:
        raise OakError(
            f"{remote.name}: {needed.problem}", hint="mend its package sources, then run this again"
        )
    for release in sorted({release for _, release in needed.names}):
        names = [name for name, its in needed.names if its == release]
        packages.install(remote, NAME, names, release=release)


def listed(found: Found) -> str:
    program = (wireguard.PROGRAM,) if found.needs_program else ()
    return f"{', '.join((*found.packages, *program))} could not be installed"


def take_away() -> Step:
    def check(remote: Remote) -> str:
        return "noted" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> str:
        return packages.take_away_noted(remote, NAME)

    return Step("overlay: take away what it took", check, apply)
