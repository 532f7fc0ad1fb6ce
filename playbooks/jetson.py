"""Jetson: Docker is told of the NVIDIA runtime, which gives containers the GPU.

The runtime comes with JetPack. It is added to /etc/docker/daemon.json, in which nothing else
changes: the default runtime stays, containers go on. What the kernel lacks is reported.
"""

from __future__ import annotations

import json
from shlex import quote

from oakctl.remote import changes, jetson
from oakctl.remote.step import Remote, Step

NAME = "jetson"
KEPT = ".before-oakctl"
MISSING = 44  # our own exit code for a file that is not there


def steps() -> list[Step]:
    return [runtime(), kernel()]


def undo() -> list[Step]:
    return [put_back()]


def runtime() -> Step:
    def check(remote: Remote) -> str:
        if absent(remote):
            return ""
        return "" if jetson.RUNTIME in runtimes(remote) else "Docker does not know it"

    def apply(remote: Remote) -> None:
        before, path = configuration(remote), program(remote)
        after = jetson.with_runtime(before or "", path)
        # A run that was cut off between the two has noted it already.
        if NAME not in changes.read(remote):
            changes.record(remote, NAME, {"path": path, "before": before, "after": after})
        write(remote, after)

    return Step("jetson: NVIDIA runtime in Docker", check, apply, name="runtime", note=absent)


def absent(remote: Remote) -> str:
    """Why there is nothing to set here; empty: there is, or it is set."""
    if not jetson.is_jetson(remote.facts):
        return "not a Jetson"
    if remote.run("command -v docker", check=False).exit_code != 0:
        return "there is no Docker to be told"
    if jetson.RUNTIME in runtimes(remote):
        return "" if NAME in changes.read(remote) else "Docker knows it"
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
        made, now = changes.read(remote)[NAME], configuration(remote)
        if now is not None:
            left = jetson.without_runtime(now, made["path"])
            write(remote, (made["before"] or "") if now == made["after"] else left)
        remote.root(f"rm -f {quote(jetson.CONFIGURATION + KEPT)}")
        changes.forget(remote, NAME)
        return "Docker's configuration is as it was"

    return Step("jetson: Docker's configuration as it was", check, apply)


def runtimes(remote: Remote) -> list[str]:
    asked = remote.root("docker info --format '{{json .Runtimes}}'", check=False)
    try:
        return list(json.loads(asked.stdout))
    except (ValueError, TypeError):  # an engine that does not run
        return []


def program(remote: Remote) -> str:
    return remote.run(f"command -v {jetson.PROGRAM}", check=False).stdout.strip()


def configuration(remote: Remote) -> str | None:
    file = quote(jetson.CONFIGURATION)
    found = remote.root(f"[ -e {file} ] || exit {MISSING}; cat {file}", check=False)
    return None if found.exit_code == MISSING else found.stdout


def write(remote: Remote, content: str) -> None:
    """Put the file in place (empty: take it away), and have Docker read it; nothing restarts."""
    file = quote(jetson.CONFIGURATION)
    new, kept = quote(f"{jetson.CONFIGURATION}.new"), quote(jetson.CONFIGURATION + KEPT)
    put = f"cat >{new}; chmod 644 {new}; mv -f {new} {file}" if content else f"rm -f {file}"
    remote.root(
        f"set -e; mkdir -p /etc/docker; if [ -e {file} ] && ! [ -e {kept} ]; then cp {file} {kept}"
        f"; fi; {put}; systemctl reload docker",
        stdin=content.encode(),
    )
