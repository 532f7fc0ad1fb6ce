"""Uninstall: takes one role off a host, by its record; with the last role goes everything.

Without a role it puts back what playbooks changed on a host that has none. What cannot be taken
away or put back is told and kept; it never keeps the rest from going.
"""

from __future__ import annotations

import json
from shlex import join, quote

from oakctl.errors import NotFound, OakError
from oakctl.model import wire
from oakctl.orchestration.worker.cgroup import node_group
from oakctl.orchestration.worker.docker.housekeeping import Brought, Ledger
from oakctl.remote import changes, detached, playbook
from oakctl.remote.manifest import ROLES, lingering_mark, read, text
from oakctl.remote.step import CommandFailed, Remote, Step
from oakctl.remote.supervisor import supervisor_of

JOBS_S = 1800.0
IMAGES_S = 300.0
LONGEST_NOTE = 300  # characters of what a playbook noted that are told
NONE_RUNS = 3  # our own exit code: no Python there runs the archive

# $1 the prefix, $2 the host's own Python. What is there counts, not what would be pushed today: a
# newer Python in the operator's cache, or a release that a set-up never came to, is not there.
CLEAR = f"""
archive=$1/current/oakctl-node.pyz
for found in "$1"/releases/*/oakctl-node.pyz; do [ -f "$archive" ] || archive=$found; done
for python in "$2" "$1"/python/current/bin/python3 "$1"/python/*/bin/python3; do
    "$python" -I -c '' 2>/dev/null && exec "$python" "$archive" clear --prefix "$1"
done
exit {NONE_RUNS}
"""
# On its standard input, lines "NAME ID". A name that went on to another image is not ours, and an
# image that a container uses is not given away.
UNTAG = """
docker version >/dev/null 2>&1 || exit 0
while read -r name id; do
    [ "$(docker image inspect -f '{{.Id}}' "$name" 2>/dev/null)" = "$id" ] || continue
    docker rmi "$name" >/dev/null 2>&1 </dev/null || echo "$name"
done
"""


def steps(role: str = "") -> list[Step]:
    if not role:
        return [jobs(), faults(), put_back(), rest()]
    ending = [end_instances(), images()] if role == "worker" else []
    return [jobs(), faults(), stop(role), *ending, files(role), put_back(), rest()]


def jobs() -> Step:
    """An installation that outlived its run is not cut off in the middle."""

    def check(remote: Remote) -> str:
        working = detached.names(remote)
        return f"{', '.join(working)} at work" if working else ""

    def apply(remote: Remote) -> None:
        for name in detached.names(remote):
            detached.wait(remote, name, JOBS_S)

    return Step("uninstall: what is still at work", check, apply)


def faults() -> Step:
    """What `oakctl chaos` has broken there and not ended yet: each has its end beside it."""

    def noted(remote: Remote) -> str:
        return quote(str(remote.layout.prefix / "chaos"))

    def check(remote: Remote) -> str:
        found = remote.run(f"ls {noted(remote)} 2>/dev/null", check=False).stdout.split()
        return f"{', '.join(found)} in force" if found else ""

    def apply(remote: Remote) -> str:
        remote.run(f'for undo in {noted(remote)}/*/undo; do sh "$undo"; done', check=False)
        left = check(remote)
        remote.run(f"rm -rf {noted(remote)}")  # told, and no hindrance
        return f"does not end: {left}" if left else ""

    return Step("uninstall: faults in force", check, apply, name="faults")


def stop(role: str) -> Step:
    def check(remote: Remote) -> str:
        if role not in read(remote):
            return ""
        present = supervisor_of(remote).states()
        left = [name for name in ROLES[role]["units"] if name in present]
        return f"{', '.join(left)} there" if left else ""

    def apply(remote: Remote) -> None:
        for name in ROLES[role]["units"]:
            supervisor_of(remote).remove(name)

    return Step(f"uninstall: stop the {role}", check, apply, name="stop")


def end_instances() -> Step:
    """Instances outlive their agent on purpose; a removal ends them with all that was theirs."""

    def folder(remote: Remote) -> str:
        return str(remote.layout.prefix / "instances")

    def overlay(remote: Remote) -> str:
        return remote.layout.state("overlay")

    def check(remote: Remote) -> str:
        # An agent that was killed leaves its control groups, even without instances.
        group = quote(node_group(str(remote.layout.prefix)))
        groups = f"find /sys/fs/cgroup -type d -name {group} 2>/dev/null"
        # So does an overlay: it goes on without its agent.
        net = f"ls -d {quote(overlay(remote))}"
        found = remote.run(f"ls {quote(folder(remote))}; {groups}; {net}", check=False)
        listed = found.stdout.split()
        return f"{len(listed)} left" if listed else ""

    def apply(remote: Remote) -> None:
        words = ["sh", "-c", CLEAR, "sh", str(remote.layout.prefix), remote.facts.python]
        ended = remote.run(join(words), timeout_s=60, check=False)
        if ended.exit_code == NONE_RUNS:
            raise OakError(
                f"{remote.name}: no Python there runs what ends the instances",
                hint=f"on {remote.name}: sudo apt-get install python3; then run this again",
            )
        if ended.exit_code != 0:
            raise CommandFailed(ended)
        remote.run(f"rm -rf {quote(folder(remote))} {quote(overlay(remote))}")

    return Step("uninstall: end its instances", check, apply)


def images() -> Step:
    """Images that came with instances go with them, also from a Docker that stays."""

    def ledger(remote: Remote) -> str:
        return remote.layout.state("agent/images.json")

    def brought(remote: Remote) -> tuple[Brought, ...]:
        content = remote.read(ledger(remote))
        try:
            return wire.decode(content, Ledger).images if content else ()
        except wire.Malformed:
            return ()  # nothing that is known to be ours

    def check(remote: Remote) -> str:
        found = brought(remote)
        return f"{len(found)} there" if found else ""

    def apply(remote: Remote) -> str:
        lines = "".join(f"{image.reference} {image.id}\n" for image in brought(remote))
        done = remote.run(join(["sh", "-c", UNTAG]), stdin=lines.encode(), timeout_s=IMAGES_S)
        remote.run(f"rm -f {quote(ledger(remote))}")
        kept = ", ".join(done.stdout.split())
        return f"kept: {kept}" if kept else ""

    return Step("uninstall: images of its instances", check, apply, name="images")


def files(role: str) -> Step:
    def check(remote: Remote) -> str:
        return "still there" if role in read(remote) else ""

    def apply(remote: Remote) -> None:
        paths = " ".join(quote(str(remote.layout.prefix / p)) for p in ROLES[role]["paths"])
        remote.run(f"rm -rf {paths}", timeout_s=60)
        remaining = {name: made for name, made in read(remote).items() if name != role}
        remote.put(remote.layout.manifest, text(remaining))

    return Step(f"uninstall: files of the {role}", check, apply, name="files")


def put_back() -> Step:
    """What playbooks changed outside of our folder, by the record that is kept of it."""

    def check(remote: Remote) -> str:
        changed = ", ".join(sorted(changes.read(remote)))
        return f"changed by {changed}" if changed and not read(remote) else ""

    def apply(remote: Remote) -> str:
        # Backwards, by the alphabet: what is told to Docker goes before Docker does.
        names = sorted(changes.read(remote), reverse=True)
        return "; ".join(undo(remote, name) for name in names)

    def note(remote: Remote) -> str:
        roles, changed = read(remote), changes.read(remote)
        return f"kept for the {' and the '.join(sorted(roles))}" if roles and changed else ""

    return Step("uninstall: the host as it was", check, apply, name="put-back", note=note)


def undo(remote: Remote, name: str) -> str:
    try:
        module = playbook.load(name)
    except NotFound:  # the user's, and deleted since
        return kept(remote, name, "that playbook is not here any more")
    if not hasattr(module, "undo"):
        return kept(remote, name, "that playbook has no function `undo`")
    told = [step.apply(remote) or "" for step in module.undo() if step.check(remote)]
    return f"{name}: {'; '.join(filter(None, told)) or 'done'}"


def kept(remote: Remote, name: str, reason: str) -> str:
    """Forget what `name` changed; says what that was, as the record of it goes with the rest."""
    noted = json.dumps(changes.read(remote).get(name, {}))
    shown = noted if len(noted) <= LONGEST_NOTE else f"{noted[:LONGEST_NOTE]}…"
    changes.forget(remote, name)
    return f"{name}: kept, as {reason}; it had noted {shown}"


def rest() -> Step:
    """The archive and the prefix stay while another role needs them.

    The record goes last, so that a removal that was cut off is carried on. Without a record the
    folder is not ours: whatever is in it stays, but for the lock and jobs of this run.
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
            f"rm -rf run/host.lock run/jobs; cd /; rmdir {prefix}/run {prefix} 2>/dev/null || true",
            timeout_s=60,
        )

    return Step("uninstall: all that is left", check, apply)
