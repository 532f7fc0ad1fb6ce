"""Python: a standalone one, pushed to hosts whose own is missing, incomplete or too old.

It comes from the operator's cache, lies in a folder of its own below the prefix, is tried there
before it gets its place, and goes with the last role. Where the host's own Python will do, nothing
is done. One that nothing runs by any more is taken away.
"""

from __future__ import annotations

from shlex import quote

from oakctl.errors import OakError
from oakctl.remote import manifest, python_archive, python_cache
from oakctl.remote.step import Remote, Step

TRIAL_DEADLINE_S = 60.0  # the first start from a slow card, compiling as it goes
UNPACK_DEADLINE_S = 300.0

# $1 name, $2 the folder in the archive, $3 what to try. A folder that has its name is whole.
# Instances that are users of their own run by it too: they may read it, and change nothing.
UNPACK = """
set -e; umask 022
chmod 711 .
rm -rf ."$1".new
trap 'rm -rf ."$1".new' EXIT
mkdir ."$1".new
tar -x -z -o -f "$1.tar.gz" -C ."$1".new
new=.$1.new${2:+/$2}
chmod -R u+rwX,go+rX,go-w "$new"
"$new/bin/python3" -I -c "$3" >&2
sync -f "$new" 2>/dev/null || sync
rm -rf "$1"
mv -T "$new" "$1"
rm -f "$1.tar.gz"
"""

# $1 the one to keep. A Python in use is mapped by the processes that run by it.
UNUSED = """
for name in * .*.new; do
    [ -e "$name" ] || [ -L "$name" ] || continue
    [ "$name" = "$1" ] && continue
    [ "$name" = current ] && [ "$1" ] && continue
    grep -qsF "$(pwd -P)/$name/" /proc/[0-9]*/maps || echo "$name"
done
"""


def steps() -> list[Step]:
    return [pushed(), in_use()]


def folder(remote: Remote) -> str:
    return str(remote.layout.prefix / "python")


def script(remote: Remote, text: str, *words: str) -> str:
    """A command that runs `text` in our folder of Pythons."""
    arguments = " ".join(quote(word) for word in words)
    return f"cd {quote(folder(remote))} && sh -c {quote(text)} sh {arguments}"


def pushed() -> Step:
    def check(remote: Remote) -> str:
        chosen = remote.interpreter
        if chosen.own:
            return ""
        trial = f"{quote(remote.python)} -I -c {quote(python_archive.TRIAL)}"
        runs = remote.run(trial, timeout_s=TRIAL_DEADLINE_S, check=False).exit_code == 0
        return "" if runs else chosen.reason

    def apply(remote: Remote) -> None:
        chosen = remote.interpreter
        if chosen.archive is None:
            raise OakError(
                f"the Python that was pushed earlier ({remote.python}) does not run, and its "
                "archive is not here",
                hint="oakctl host python add ARCHIVE",
            )
        if remote.read(remote.layout.manifest) is None:
            # On a host without a role too a removal knows by this that the folder is ours.
            remote.put(remote.layout.manifest, manifest.text({}))
        packed = f"{folder(remote)}/{chosen.folder}.tar.gz"
        remote.put(packed, python_cache.content(chosen.archive))
        done = remote.run(
            script(remote, UNPACK, chosen.folder, chosen.archive.root, python_archive.TRIAL),
            timeout_s=UNPACK_DEADLINE_S,
            check=False,
        )
        if done.exit_code != 0:
            raise OakError(
                f"Python {chosen.version} of {chosen.archive.name} cannot be used there",
                hint="give the archive of another: oakctl host python add ARCHIVE",
                details=done.last_lines(),
            )

    return Step("python: interpreter", check, apply)


def in_use() -> Step:
    """The link says which it is, to whoever has not its archive."""

    def check(remote: Remote) -> str:
        chosen = remote.interpreter
        link = quote(f"{folder(remote)}/current")
        now = remote.run(f"readlink {link}", check=False).stdout.strip()
        return "" if chosen.own or now == chosen.folder else f"{now or 'none'} is in use"

    def apply(remote: Remote) -> None:
        name = remote.interpreter.folder
        switch = 'ln -sfn "$1" current.new && mv -T current.new current'
        remote.run(script(remote, switch, name))

    return Step("python: use it", check, apply)


def tidy() -> Step:
    """The last step of a role: by now everything of ours runs by the one that is in use."""

    def unused(remote: Remote) -> list[str]:
        command = script(remote, UNUSED, remote.interpreter.folder)
        if remote.run(f"test -d {quote(folder(remote))}", check=False).exit_code != 0:
            return []
        return remote.run(command).stdout.split()

    def check(remote: Remote) -> str:
        found = unused(remote)
        return f"{', '.join(found)} not in use" if found else ""

    def apply(remote: Remote) -> None:
        remote.run(script(remote, 'rm -rf -- "$@"', *unused(remote)), timeout_s=60)
        remote.run(f"rmdir {quote(folder(remote))} 2>/dev/null", check=False)

    return Step("python: unused ones", check, apply, name="unused-ones", playbook="python")
