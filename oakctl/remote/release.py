"""Node archives on a host: put there, put in force, and taken back.

Each lies in a directory named by its version; `current` is a link to the one in force and
`previous` to the one before. Those two stay on the host, so that an upgrade that does no good is
taken back without an upload. Every call is idempotent and carries on where one was cut off.

For an upgrade of one host (all of it under `hostlock.host_lock`)::

    release.install(remote, version, content, progress)  # may be done long before
    release.switch(remote, version)                      # returns the version before
    release.restart(remote, release.units(remote))       # orchestrator, relay, agent: what is there
    ... and when it does not become ready:
    release.roll_back(remote, version)                   # returns the version that is in force now
    release.restart(remote, release.units(remote))
    ... and when it does:
    release.prune(remote)

The whole plan of a role (`bootstrap.cluster_plan`, `worker_plan`) does the same by its steps. Does
not belong here: what an archive is (`bundle`), and when a host is ready (the root knows).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from shlex import join, quote

from oakctl.errors import NotFound, OakError
from oakctl.model import wire
from oakctl.model.config import Unit
from oakctl.remote.step import CommandFailed, Progress, Remote, no_progress
from oakctl.remote.supervisor import RELEASE, supervisor_of, unit_record

MISSING = 44  # our own exit code: the release is not there

# Each is one script, so that it goes on to its end when the connection does not; where even the
# host goes down between its two moves, what is in force stays whole, and a second call ends it.
# `previous` moves first on the way to a release, and last on the way back: no release that is
# still needed is without a name in between.
_LINKS = f"""
trap '' HUP INT PIPE TERM
cd "$1" || exit {MISSING}
named() {{ now=$(readlink "$1") && echo "${{now##*/}}"; }}
link() {{ ln -sfn "releases/$2" "$1.new" && mv -T "$1.new" "$1"; }}
is_there() {{ [ -n "$1" ] && [ -f "releases/$1/complete" ]; }}
before=$(named current)
"""
_SWITCH = f"""{_LINKS}
is_there "$2" || exit {MISSING}
[ "$before" != "$2" ] || {{ named previous; exit 0; }}
[ -z "$before" ] || link previous "$before" || exit 1
link current "$2" || exit 1
echo "$before"
"""
_ROLL_BACK = f"""{_LINKS}
[ "$before" = "$2" ] || {{ echo "$before"; exit 0; }}
back=$(named previous)
[ "$back" != "$2" ] && is_there "$back" || exit {MISSING}
link current "$back" && link previous "$2" || exit 1
echo "$back"
"""

# The units that run the archive, in the order in which they are started anew.
UNITS = ("orchestrator", "relay", "agent")
UNPACK_DEADLINE_S = 120.0  # compiling takes a Pi half a minute

UNPACK = """
import compileall, sys, zipfile
archive, new, lib = sys.argv[1:]
try:
    zipfile.ZipFile(archive).extractall(new)
except OSError as error:
    sys.exit("%s: %s" % (error.filename or new, error.strerror or error))
# Compiled files name their sources: as they will be, not where they are now.
compileall.compile_dir(new, quiet=2, ddir=lib)
"""


def in_force(remote: Remote) -> str:
    """The version that `current` names; empty without one."""
    return _named(remote, "current")


def previous(remote: Remote) -> str:
    """The version that was in force before; empty without one."""
    return _named(remote, "previous")


def is_there(remote: Remote, version: str) -> bool:
    """Whether all of a release is on the host."""
    found = remote.run(f"test -f {quote(_mark(remote, version))}", check=False)
    return found.exit_code == 0


def install(remote: Remote, version: str, content: bytes, progress: Progress = no_progress) -> None:
    """Upload an archive and unpack it beside itself; nothing is in force by that."""
    folder = remote.layout.release(version)
    remote.put(f"{folder}/oakctl-node.pyz", content, progress=progress)
    remote.run(
        "set -e; umask 077; "
        f'folder={quote(folder)}; rm -rf "$folder"/lib.*; '
        "new=$folder/lib.$$; trap 'rm -rf \"$new\"' EXIT; "
        f'{quote(remote.python)} - "$folder/oakctl-node.pyz" "$new" "$folder/lib"; '
        'rm -rf "$folder/lib"; mv -T "$new" "$folder/lib"; sync -f "$folder"',
        stdin=UNPACK.encode(),
        timeout_s=UNPACK_DEADLINE_S,
    )
    # Last: by this file the release is known to be whole.
    remote.put(_mark(remote, version), json.dumps({"version": version}).encode())


def switch(remote: Remote, version: str) -> str:
    """Put a release in force; returns the version that was before (empty: none).

    What runs goes on with the old one until it is started anew (`restart`). Raises NotFound when
    the release is not on the host.
    """
    done = _moved(remote, _SWITCH, version)
    if done is None:
        raise NotFound(f"{remote.name}: release {version} is not there", hint="run it again")
    return done


def roll_back(remote: Remote, bad: str) -> str:
    """Put the release before `bad` in force again; returns the version that is in force.

    Where `bad` is not in force nothing is done. Raises NotFound without a release before.
    """
    done = _moved(remote, _ROLL_BACK, bad)
    if done is None:
        raise NotFound(
            f"{remote.name}: there is no release to go back to",
            hint="install the version of oakctl that you want there, then: oakctl fleet upgrade",
        )
    return done


def units(remote: Remote) -> tuple[str, ...]:
    """The units of this host that run the archive, in the order of `restart`."""
    present = supervisor_of(remote).states()
    return tuple(name for name in UNITS if name in present)


def restart(remote: Remote, names: Sequence[str]) -> None:
    """Start units anew with the release in force; the bus and instances are left alone.

    A unit is noted to run that release, so that a plan of the same release finds it so. Raises
    NotFound for a unit that was never put there.
    """
    version = in_force(remote)
    for name in names:
        content = remote.read(unit_record(remote, name))
        if content is None:
            raise NotFound(f"{remote.name}: there is no unit {name} of ours")
        unit = wire.decode(content, Unit)
        wanted = replace(unit, environment=unit.environment | {RELEASE: version})
        if wanted == unit:
            supervisor_of(remote).restart(name)
            continue
        supervisor_of(remote).put(wanted)
        remote.put(unit_record(remote, name), wire.encode(wanted))


def prune(remote: Remote) -> None:
    """Take away all releases but the one in force and the one before."""
    stay = [version for version in (in_force(remote), previous(remote)) if version]
    if not stay:
        raise OakError(f"{remote.name}: no release is in force", hint="run the set-up again")
    keep = " ".join(f"! -name {quote(version)}" for version in stay)
    folder = quote(str(remote.layout.prefix / "releases"))
    remote.run(f"find {folder} -mindepth 1 -maxdepth 1 {keep} -exec rm -rf {{}} +", timeout_s=60)


def _mark(remote: Remote, version: str) -> str:
    return f"{remote.layout.release(version)}/complete"


def _named(remote: Remote, link: str) -> str:
    path = quote(str(remote.layout.prefix / link))
    return remote.run(f"readlink {path}", check=False).stdout.strip().rpartition("/")[2]


def _moved(remote: Remote, script: str, version: str) -> str | None:
    """What such a script said; None where the release that it needs is not there."""
    words = ["sh", "-c", script, "sh", str(remote.layout.prefix), version]
    done = remote.run(join(words), check=False)
    if done.exit_code not in (0, MISSING):
        raise CommandFailed(done)
    return done.stdout.strip() if done.exit_code == 0 else None
