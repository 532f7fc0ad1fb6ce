"""Uninstall: takes one role off a host, by the manifest; with the last role goes everything."""

from __future__ import annotations

from shlex import join, quote

from oakctl.remote.manifest import ROLES, lingering_mark, read, text
from oakctl.remote.step import Remote, Step
from oakctl.remote.supervisor import supervisor_of


def steps(role: str) -> list[Step]:
    ending = [end_instances()] if role == "worker" else []
    return [stop(role), *ending, files(role), rest()]


def installed(remote: Remote) -> bool:
    current = quote(remote.layout.archive)
    return remote.run(f"test -f {current}", check=False).exit_code == 0


def stop(role: str) -> Step:
    def check(remote: Remote) -> str:
        # Without an archive there never was a unit.
        if not installed(remote):
            return ""
        running = [name for name in ROLES[role]["units"] if supervisor_of(remote).running(name)]
        return f"{', '.join(running)} running" if running else ""

    def apply(remote: Remote) -> None:
        for name in ROLES[role]["units"]:
            supervisor_of(remote).remove(name)

    return Step(f"uninstall: stop the {role}", check, apply)


def end_instances() -> Step:
    """Instances outlive their agent on purpose; a removal ends them with all that was theirs."""

    def folder(remote: Remote) -> str:
        return str(remote.layout.prefix / "instances")

    def check(remote: Remote) -> str:
        listed = remote.run(f"ls {quote(folder(remote))}", check=False).stdout.split()
        return f"{len(listed)} left" if listed else ""

    def apply(remote: Remote) -> None:
        prefix = str(remote.layout.prefix)
        remote.run(
            join([remote.facts.python, remote.layout.archive, "clear", "--prefix", prefix]),
            timeout_s=60,
        )
        remote.run(f"rm -rf {quote(folder(remote))}")

    return Step("uninstall: end its instances", check, apply)


def files(role: str) -> Step:
    def check(remote: Remote) -> str:
        return "still there" if role in read(remote) else ""

    def apply(remote: Remote) -> None:
        if installed(remote):
            for name in ROLES[role]["units"]:
                supervisor_of(remote).remove(name)
        paths = " ".join(quote(str(remote.layout.prefix / p)) for p in ROLES[role]["paths"])
        remote.run(f"rm -rf {paths}")
        remaining = {name: made for name, made in read(remote).items() if name != role}
        remote.put(remote.layout.manifest, text(remaining))

    return Step(f"uninstall: files of the {role}", check, apply)


def rest() -> Step:
    """The archive and the prefix stay while another role needs them."""

    def check(remote: Remote) -> str:
        there = remote.run(f"test -e {quote(str(remote.layout.prefix))}", check=False)
        return "no role left" if there.exit_code == 0 and not read(remote) else ""

    def apply(remote: Remote) -> None:
        mark = quote(lingering_mark(remote))
        remote.run(f"if [ -e {mark} ]; then loginctl disable-linger; fi")
        remote.run(f"rm -rf {quote(str(remote.layout.prefix))}")

    return Step("uninstall: all that is left", check, apply)
