"""Jetson: Docker is told of the NVIDIA runtime, which gives containers the GPU.

The runtime comes with JetPack. It is added to /etc/docker/daemon.json, in which nothing else
changes: the default runtime stays, containers go on. What the kernel lacks is reported. An engine
that does not answer is not told: what it has been told could not be seen.
"""

from __future__ import annotations

import json

from oakctl.errors import OakError
from oakctl.remote import changes, host_files, jetson
from oakctl.remote.step import Remote, Step

NAME = "jetson"
# An engine that does not run reads its file when it is started.
RELOAD = "if systemctl is-active --quiet docker; then systemctl reload docker; fi"


def steps() -> list[Step]:
    return [runtime(), kernel()]


def undo() -> list[Step]:
    return [put_back()]


def runtime() -> Step:
    def check(remote: Remote) -> str:
        if absent(remote):
            return ""
        return "" if knows(remote) else "Docker does not know it"

    def apply(remote: Remote) -> None:
        before, path = host_files.read(remote, jetson.CONFIGURATION), program(remote)
        after = jetson.with_runtime(before or "", path)
        # A run that was cut off between the two has noted it already.
        if NAME not in changes.read(remote):
            changes.record(remote, NAME, {"path": path, "before": before, "after": after})
        if after != before:
            host_files.replace(remote, jetson.CONFIGURATION, after)
        # In any case: a run that was cut off here has written it, and told nobody.
        remote.root(RELOAD)

    return Step("jetson: NVIDIA runtime in Docker", check, apply, name="runtime", note=absent)


def absent(remote: Remote) -> str:
    """Why there is nothing to set here; empty: there is, or it is set."""
    if not jetson.is_jetson(remote.facts):
        return "not a Jetson"
    if remote.run("command -v docker", check=False).exit_code != 0:
        return "there is no Docker to be told"
    known = knows(remote)
    if known:
        return "" if NAME in changes.read(remote) else "Docker knows it"
    if known is None:
        return "Docker does not answer, and is not told: sudo systemctl start docker"
    if not program(remote):
        return f"{jetson.PROGRAM} is missing, containers get no GPU: {jetson.INSTALL}"
    return ""


def kernel() -> Step:
    """Reports alone: a kernel is never replaced."""

    def note(remote: Remote) -> str:
        if not jetson.is_jetson(remote.facts):
            return "not a Jetson"
        return "; ".join(jetson.gaps(remote.facts)) or "nothing is missing"

    return Step(
        "jetson: what its kernel lacks",
        lambda remote: "",
        lambda remote: None,
        name="kernel",
        note=note,
    )


def put_back() -> Step:
    def check(remote: Remote) -> str:
        return "Docker was told of the runtime" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> str:
        file, made = jetson.CONFIGURATION, changes.read(remote)[NAME]
        now = host_files.read(remote, file)
        try:
            left = before(made, now or "")
        except OakError as error:  # somebody has edited it since, and is not done
            changes.forget(remote, NAME)
            return f"kept: {error.message}"
        if not left and made["before"] is None:
            host_files.remove(remote, file)
        elif left != now:
            host_files.replace(remote, file, left)
        # In any case: a removal that was cut off here has put it back, and told nobody.
        remote.root(RELOAD)
        host_files.forget_copy(remote, file)
        changes.forget(remote, NAME)
        return "Docker's configuration is as it was"

    return Step("jetson: Docker's configuration as it was", check, apply)


def before(made: changes.Entry, now: str) -> str:
    """The configuration as it was; of one that somebody has edited since, only our part goes.

    Raises OakError when what is there is no configuration.
    """
    return (
        (made["before"] or "")
        if now == made["after"]
        else jetson.without_runtime(now, made["path"])
    )


def knows(remote: Remote) -> bool | None:
    """Whether Docker knows the runtime; None when it does not answer."""
    asked = remote.root("docker info --format '{{json .Runtimes}}'", check=False)
    try:
        return jetson.RUNTIME in list(json.loads(asked.stdout)) if asked.exit_code == 0 else None
    except (ValueError, TypeError):
        return None


def program(remote: Remote) -> str:
    return remote.run(f"command -v {jetson.PROGRAM}", check=False).stdout.strip()
