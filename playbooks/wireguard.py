"""WireGuard: its tools, and on a host whose kernel has none the program wireguard-go.

Run where an overlay asks for it. Package sources are never added: where the program is too old
there (Debian 12 has a good one in its backports alone), that is said, with what to type.
"""

from __future__ import annotations

from oakctl.errors import OakError
from oakctl.remote import changes, packages, wireguard
from oakctl.remote.step import Remote, Step

NAME = "wireguard"


def steps() -> list[Step]:
    return [tools(), program()]


def undo() -> list[Step]:
    return [take_away()]


def tools() -> Step:
    def check(remote: Remote) -> str:
        if remote.run("command -v wg", check=False).exit_code == 0:
            return ""
        packages.require_apt(remote, wireguard.TOOLS)
        return "not installed"

    def apply(remote: Remote) -> None:
        packages.update(remote)
        packages.install(remote, NAME, [wireguard.TOOLS])

    return Step("wireguard: its tools", check, apply, name="tools")


def program() -> Step:
    def check(remote: Remote) -> str:
        if is_in_kernel(remote) or not has_tun(remote):
            return ""
        if not offered(remote):  # they may never have been read
            return "" if wireguard.is_good(installed(remote)) else "the kernel has none"
        offer = choice(remote).offer
        return f"the kernel has none; {offer.version} is there to be installed" if offer else ""

    def apply(remote: Remote) -> None:
        if not offered(remote):
            packages.update(remote)
        offer = choice(remote).offer
        if offer is not None:
            backports = offer.release if offer.release.endswith("-backports") else ""
            packages.install(remote, NAME, [wireguard.PROGRAM], release=backports)

    def note(remote: Remote) -> str:
        if is_in_kernel(remote):
            return "the kernel has it"
        if not has_tun(remote):
            return "no /dev/net/tun: only through a relay"
        return f"{wireguard.PROGRAM} {installed(remote)}"

    return Step("wireguard: a program for it", check, apply, name="program", note=note)


def is_in_kernel(remote: Remote) -> bool:
    return remote.facts.network.wireguard == "kernel"


def has_tun(remote: Remote) -> bool:
    return remote.run("test -e /dev/net/tun", check=False).exit_code == 0


def choice(remote: Remote) -> wireguard.Choice:
    found = wireguard.choose(installed(remote), offered(remote), release(remote))
    if found.problem:
        raise OakError(f"{remote.name}: {found.problem}", hint=found.remedy)
    return found


def take_away() -> Step:
    def check(remote: Remote) -> str:
        return "installed by oakctl" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> str:
        return packages.take_away_noted(remote, NAME)

    return Step("wireguard: take it away", check, apply)


def installed(remote: Remote) -> str:
    """The version that is there: the package's, or the program's own word."""
    asked = remote.run(
        f"dpkg-query -W -f '${{Version}}' {wireguard.PROGRAM} 2>/dev/null || "
        f"{wireguard.PROGRAM} --version 2>/dev/null | head -n 1",
        check=False,
    )
    return asked.stdout.strip()


def offered(remote: Remote) -> list[wireguard.Offer]:
    return wireguard.offers(packages.versions(remote, wireguard.PROGRAM))


def release(remote: Remote) -> str:
    said = remote.run('. /etc/os-release; printf %s "$VERSION_CODENAME"', check=False)
    return said.stdout.strip()
