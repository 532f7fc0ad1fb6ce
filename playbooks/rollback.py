"""Rollback: a role runs from the release before again, when a new one does not become ready."""

from __future__ import annotations

from shlex import quote

from oakctl.errors import OakError
from oakctl.remote import playbook
from oakctl.remote.step import Remote, Step


def steps(role: str, bad: str) -> list[Step]:
    if role == "worker":
        worker = playbook.load("worker")
        return [back(bad), worker.relay(), worker.agent()]
    return [back(bad), playbook.load("cluster").unit()]


def back(bad: str) -> Step:
    """Only when `bad` is in force: a run that was cut off before it switched changed nothing."""

    def check(remote: Remote) -> str:
        now = remote.run("readlink " + quote(str(remote.layout.prefix / "current")), check=False)
        return f"{bad} is in force" if now.stdout.strip() == f"releases/{bad}" else ""

    def apply(remote: Remote) -> None:
        current = quote(str(remote.layout.prefix / "current"))
        previous = quote(str(remote.layout.prefix / "previous"))
        done = remote.run(
            f"test -d {previous}/lib && release=$(readlink {previous}) && "
            f'ln -sfn "$release" {current}.new && mv -T {current}.new {current}',
            check=False,
        )
        if done.exit_code != 0:
            raise OakError(
                "there is no release before this one",
                hint=f"oakctl host run {remote.name} -- ls {remote.layout.prefix}/releases",
                details=done.last_lines(),
            )

    return Step("rollback: switch to the release before", check, apply)
