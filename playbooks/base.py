"""Base: the record of what is ours, the directories, Python, and the node archive.

Runs first on every host. The record comes before all else, so that a removal knows what to take
away, however far a run came. The archive is uploaded once per version and unpacked beside itself,
and `current` is switched to it in one atomic move.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

from oakctl.errors import OakError
from oakctl.remote import bundle, playbook, release
from oakctl.remote.manifest import ROLES, lingering_mark, read, text
from oakctl.remote.residence import USER, Homeless
from oakctl.remote.step import Remote, Step

DIRECTORIES = ("releases", "bin", "etc/units", "etc/bus", "state", "run", "log")


def steps(role: str) -> list[Step]:
    """Steps for a host that gets `role` (worker, cluster)."""
    built = bundle.build()
    version = bundle.version(built.read_bytes())
    return [
        record(role),
        directories(),
        lingering(),
        *playbook.steps("python", {}),
        archive(version, built.read_bytes),
        switch(version),
    ]


def directories() -> Step:
    def folders(remote: Remote) -> str:
        return " ".join(quote(str(remote.layout.prefix / name)) for name in DIRECTORIES)

    def check(remote: Remote) -> str:
        tests = f"for d in {folders(remote)}; do [ -d $d ] || exit 1; done"
        return "" if remote.run(tests, check=False).exit_code == 0 else "missing"

    def apply(remote: Remote) -> None:
        remote.run(f"umask 077; mkdir -p {folders(remote)}")

    return Step("base: directories", check, apply)


def lingering() -> Step:
    """The user's own systemd runs from boot on, and does not end with the last session."""

    def check(remote: Remote) -> str:
        if isinstance(remote.residence, Homeless) or remote.residence.supervisor != USER:
            return ""
        file = quote(f"/var/lib/systemd/linger/{remote.facts.user}")
        lingers = remote.run(f"test -e {file}", check=False).exit_code == 0
        return "" if lingers else "our processes would end with the session"

    def apply(remote: Remote) -> None:
        # Noted first, so that a removal takes it back.
        remote.put(lingering_mark(remote), b"")
        done = remote.run("loginctl enable-linger", check=False)
        if done.exit_code != 0:
            remote.run(f"rm -f {quote(lingering_mark(remote))}")
            raise OakError(
                f"{remote.facts.user} may not let processes run without a session",
                hint=f"on the host, as root: loginctl enable-linger {remote.facts.user}",
                details=done.last_lines(),
            )

    return Step("base: run without a session", check, apply)


def record(role: str) -> Step:
    """What a removal will take away is written down before it is made."""

    def check(remote: Remote) -> str:
        return "" if read(remote).get(role) == ROLES[role] else "missing"

    def apply(remote: Remote) -> None:
        remote.put(remote.layout.manifest, text(read(remote) | {role: ROLES[role]}))

    return Step(f"base: record the role {role}", check, apply, name="record")


def archive(version: str, content: Callable[[], bytes]) -> Step:
    def check(remote: Remote) -> str:
        return "" if release.is_there(remote, version) else "missing"

    def apply(remote: Remote) -> None:
        release.install(remote, version, content())

    return Step(f"base: node archive {version}", check, apply, name="archive")


def switch(version: str) -> Step:
    """The release before stays there, to go back to; older ones go."""

    def check(remote: Remote) -> str:
        now = release.in_force(remote)
        return "" if now == version else f"{now or 'nothing'} is in force"

    def apply(remote: Remote) -> None:
        release.switch(remote, version)
        release.prune(remote)

    return Step("base: switch to it", check, apply)
