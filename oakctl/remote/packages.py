"""Packages of the host's distribution: by apt, with what came by us known, so that it can go.

Belongs here: reading what apt says it would do (pure), installing, taking away. A lock that
another program holds is waited for, its holder left alone. Package sources are never added.
Does not belong here: which packages (`playbooks/`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from shlex import join, quote

from oakctl.errors import OakError
from oakctl.remote import changes, detached
from oakctl.remote.residence import Homeless
from oakctl.remote.step import CommandFailed, Completed, Remote

ASK_S = 60.0
LOCK_S = 600  # unattended upgrades of a first boot take minutes
UPDATE_S = 900.0
JOB = "packages"  # they outlive the connection: half an installation is worse than a late one
INSTALL_S = 3600.0  # a Pi on a slow link

# Older releases than Debian 11 do not wait for locks themselves, and none waits for all of them.
APT = rf"""
LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
export LC_ALL DEBIAN_FRONTEND NEEDRESTART_SUSPEND APT_LISTCHANGES_FRONTEND
apt_get() {{
    said=$(mktemp) || return
    waited=0
    while :; do
        {{ apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"
            echo $? >"$said.code"; }} 2>&1 </dev/null | tee "$said"
        code=$(cat "$said.code")
        [ "$code" != 0 ] && [ $waited -lt {LOCK_S} ] || break
        grep -Eq 'Could not get lock|Unable to (lock|acquire the dpkg)' "$said" || break
        sleep 3; waited=$((waited + 3))
        echo "another program works on packages: waiting, $waited of {LOCK_S} s"
    done
    rm -f "$said" "$said.code"
    return "$code"
}}
"""


def added_by(simulation: str) -> list[str]:
    """The packages that a simulated run would install where there was none of them before."""
    return re.findall(r"^Inst (\S+) \((?!\[)", simulation, re.MULTILINE)


def removed_by(simulation: str) -> list[str]:
    """The packages that a simulated run would remove."""
    return re.findall(r"^(?:Purg|Remv) (\S+)", simulation, re.MULTILINE)


def require_apt(remote: Remote, what: str) -> None:
    """Raises OakError where `what` cannot be installed by us: no superuser, no apt."""
    if isinstance(remote.residence, Homeless) or not remote.residence.as_root:
        raise OakError(
            f"{remote.name}: {what} is installed by the superuser, "
            f"and {remote.facts.user} lives there without those rights",
            hint=f"have an administrator of {remote.name} install it, then run this again",
        )
    if remote.run("command -v apt-get", check=False).exit_code != 0:
        raise OakError(
            f"{remote.name}: {remote.facts.system or 'this system'} has no apt: "
            f"{what} is not installed by oakctl there",
            hint=f"install it on {remote.name} by its own means, then run this again",
        )


def known(remote: Remote, names: Sequence[str]) -> list[str]:
    """Those of `names` that the host's package sources have."""
    if not names:
        return []
    said = remote.run(f"LC_ALL=C apt-cache policy {join(names)}", timeout_s=ASK_S).stdout
    return re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))\S", said, re.MULTILINE)


def versions(remote: Remote, name: str) -> str:
    """The versions of a package that the host's package sources have, as apt lists them."""
    command = f"LC_ALL=C apt-cache madison {quote(name)}"
    return remote.run(command, timeout_s=ASK_S, check=False).stdout


def update(remote: Remote) -> None:
    """Read the package sources anew. One that cannot be read is no error: others may do."""
    detached.run(remote, JOB, f"{APT}apt_get update", timeout_s=UPDATE_S, check=False)


def install(remote: Remote, playbook: str, names: Sequence[str], *, release: str = "") -> None:
    """Install `names` and what they need, and nothing that is merely recommended.

    What comes newly with them is recorded for `playbook` first. Raises CommandFailed, and OakError
    also where something that is there would have to go for them.
    """
    target = f"-t {quote(release)} " if release else ""
    words = f"{target}--no-install-recommends install {join(names)}"
    recorded = changes.read(remote).get(playbook, {}).get("packages", [])
    if recorded:  # an earlier run was cut off, perhaps in the middle of dpkg
        detached.run(remote, JOB, f"{APT}dpkg --configure -a", timeout_s=INSTALL_S, check=False)
    simulated = remote.root(f"{APT}apt_get -s {words}", timeout_s=ASK_S).stdout
    if gone := removed_by(simulated):
        raise OakError(
            f"{remote.name}: for {', '.join(names)} apt would remove {', '.join(gone)}",
            hint=f"on {remote.name}, if that is meant: sudo apt-get install {join(names)}",
        )
    packages = [*recorded, *(name for name in added_by(simulated) if name not in recorded)]
    changes.record(remote, playbook, {"packages": packages})
    done = detached.run(remote, JOB, f"{APT}apt_get {words}", timeout_s=INSTALL_S, check=False)
    if done.exit_code != 0:
        raise _failed(remote, names, done)


def _failed(remote: Remote, names: Sequence[str], done: Completed) -> OakError:
    said = done.stdout + done.stderr
    if "dpkg --configure -a" in said or "--fix-broken" in said:
        hint = f"on {remote.name}: sudo dpkg --configure -a && sudo apt-get --fix-broken install"
    elif "get lock" in said or "nable to lock" in said or "nable to acquire" in said:
        hint = "another program installs packages there: run this again when it has ended"
    else:
        hint = f"on {remote.name}: sudo apt-get update; its package sources have to be reachable"
    return OakError(
        f"{remote.name}: {', '.join(names)} could not be installed",
        hint=hint,
        details=done.last_lines(),
    )


def take_away(remote: Remote, names: Collection[str]) -> list[str]:
    """Purge `names` unless something else needs them by now; what stays, with why.

    Raises CommandFailed.
    """
    kept = needed(remote, names)
    if not kept:
        purge(remote, names)
    return kept


def take_away_noted(remote: Remote, playbook: str) -> str:
    """Purge what was noted for `playbook`, and the note; what stays, with why, in words.

    Raises CommandFailed.
    """
    kept = take_away(remote, changes.read(remote)[playbook].get("packages", []))
    changes.forget(remote, playbook)
    return f"kept: {'; '.join(kept)}" if kept else ""


def needed(remote: Remote, names: Collection[str]) -> list[str]:
    """What came later and needs one of `names`, in words; empty: they can go."""
    there = installed(remote, names)
    if not there:
        return []
    simulated = remote.root(f"{APT}apt_get -s purge {join(there)}", timeout_s=ASK_S).stdout
    others = sorted(set(removed_by(simulated)) - set(there))
    return [f"{', '.join(there)} (needed by {', '.join(others)})"] if others else []


def purge(remote: Remote, names: Collection[str]) -> None:
    """Take these packages away, with their configuration; raises CommandFailed."""
    there = installed(remote, names)
    if there:
        detached.run(remote, JOB, f"{APT}apt_get purge {join(there)}", timeout_s=INSTALL_S)


def installed(remote: Remote, names: Collection[str]) -> list[str]:
    """Those of `names` that are there, be it only their configuration."""
    if not names:  # dpkg-query would take that for all there are
        return []
    said = remote.run(
        f"dpkg-query -W -f '${{Package}} ${{db:Status-Status}}\\n' {join(sorted(names))}",
        timeout_s=ASK_S,
        check=False,
    )
    if said.exit_code not in (0, 1):  # 1: it does not know all of them
        raise CommandFailed(said)
    rows = [line.split() for line in said.stdout.splitlines()]
    return [row[0] for row in rows if len(row) == 2 and row[1] != "not-installed"]
