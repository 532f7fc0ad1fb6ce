"""Uninstall: takes one role off a host, by its record; with the last role goes everything."""

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
        if role not in read(remote) or not installed(remote):
            return ""
        present = supervisor_of(remote).states()
        left = [name for name in ROLES[role]["units"] if name in present]
        return f"{', '.join(left)} there" if left else ""

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
        paths = " ".join(quote(str(remote.layout.prefix / p)) for p in ROLES[role]["paths"])
        remote.run(f"rm -rf {paths}", timeout_s=60)
        remaining = {name: made for name, made in read(remote).items() if name != role}
        remote.put(remote.layout.manifest, text(remaining))

    return Step(f"uninstall: files of the {role}", check, apply)


def rest() -> Step:
    """The archive and the prefix stay while another role needs them.

    The record goes last, so that a removal that was cut off is carried on. Without a record the
    folder is not ours: whatever is in it stays, but for the lock of this run.
    """

    def check(remote: Remote) -> str:
        if read(remote):
            return ""
        recorded, lock = quote(remote.layout.manifest), quote(remote.layout.run("host.lock"))
        there = remote.run(f"test -e {recorded} || test -e {lock}", check=False)
        return "no role left" if there.exit_code == 0 else ""

    def apply(remote: Remote) -> None:
        prefix, manifest = quote(str(remote.layout.prefix)), quote(remote.layout.manifest)
        mark = quote(lingering_mark(remote))
        remote.run(
            f"cd {prefix} || exit; "
            f"if [ -e {manifest} ]; then if [ -e {mark} ]; then loginctl disable-linger; fi; "
            "find . -mindepth 1 -maxdepth 1 ! -name manifest.json "
            f"-exec rm -rf {{}} + && rm -f {manifest} || exit; fi; "
            f"rm -f run/host.lock; cd /; rmdir {prefix}/run {prefix} 2>/dev/null || true",
            timeout_s=60,
        )

    return Step("uninstall: all that is left", check, apply)
