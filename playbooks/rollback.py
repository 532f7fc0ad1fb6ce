"""Rollback: a role runs from the release before again, when a new one does not become ready."""

from __future__ import annotations

from oakctl.remote import playbook, release
from oakctl.remote.step import Remote, Step


def steps(role: str, bad: str) -> list[Step]:
    if role == "worker":
        worker = playbook.load("worker")
        return [back(bad), worker.relay(), worker.agent()]
    return [back(bad), playbook.load("cluster").unit()]


def back(bad: str) -> Step:
    """Only when `bad` is in force: a run that was cut off before it switched changed nothing."""

    def check(remote: Remote) -> str:
        return f"{bad} is in force" if release.in_force(remote) == bad else ""

    def apply(remote: Remote) -> None:
        release.roll_back(remote, bad)

    return Step("rollback: switch to the release before", check, apply)
