"""Grant: another operator's root is let in to a cluster's bus through this host, or no longer.

Its key leads to the bus and to nothing else (`oakctl.remote.gate`). The key's line lies outside of
our folder, in the login user's authorized_keys, so it is noted before it is written.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote

from oakctl.errors import OakError, UsageError
from oakctl.model.roots import is_name
from oakctl.orchestration.cluster.bus_server import check_name
from oakctl.remote import changes, gate
from oakctl.remote.inputs import bus_address
from oakctl.remote.residence import PLAIN, Homeless
from oakctl.remote.step import Remote, Step

NAME = "grant"
NOBODY_ELSE = "a lab of this kind lets nobody in but its owner"


def steps(cluster: str, name: str, key: str = "") -> list[Step]:
    """Let `name` in by its public key; without a key: no longer."""
    check_name(cluster, "cluster")
    if not is_name(name):
        raise UsageError(f"{name!r} is no name of a root", hint="letters a to z and digits")
    if not key:
        return [closed(name), line_gone(cluster, name), sessions_ended(name)]
    try:
        gate.key_line(PurePosixPath("/"), key, cluster, name)
    except ValueError as error:
        raise UsageError(f"the key of {name}: {error}", hint="oakctl cluster grant") from error
    return [own_keys_file(), program(), let_in(cluster, name, key), opened(name)]


def undo() -> list[Step]:
    return [lines_gone()]


def own_keys_file() -> Step:
    """A host where keys are not the login user's to write is told before anything is done."""

    def check(remote: Remote) -> str:
        found = remote.residence
        plain = not isinstance(found, Homeless) and found.supervisor == PLAIN
        return NOBODY_ELSE if plain else ""

    def apply(remote: Remote) -> None:
        raise OakError(
            f"{remote.name}: {NOBODY_ELSE}",
            hint="oakctl lab up --kind machines has real hosts",
        )

    return Step("grant: keys can be added", check, apply, name="keys")


def program() -> Step:
    def wanted(remote: Remote) -> bytes:
        return gate.program(remote.python, bus_address(remote) or "127.0.0.1")

    def check(remote: Remote) -> str:
        path = gate.program_path(remote.layout.prefix)
        if remote.read(path) != wanted(remote):
            return "missing"
        passable = remote.as_login(f"test -x {quote(path)}", check=False)
        return "" if passable.exit_code == 0 else "the login user can't run it"

    def apply(remote: Remote) -> None:
        prefix = remote.layout.prefix
        path = gate.program_path(prefix)
        remote.put(path, wanted(remote), mode=0o755)
        # One may go through our folder, and not look around.
        folders = " ".join(quote(str(f)) for f in (prefix, prefix / gate.FOLDER))
        remote.run(f"chmod 711 {folders}; umask 022; mkdir -p {quote(roots(remote))}")
        remote.run(f"chmod 755 {quote(roots(remote))}")
        if remote.python.startswith(f"{prefix}/python/"):
            own = quote(str(PurePosixPath(remote.python).parents[1]))
            remote.run(f"chmod 711 {quote(str(prefix / 'python'))}; chmod -R a+rX {own}")

    return Step("grant: the way to the bus", check, apply, name="program")


def roots(remote: Remote) -> str:
    return gate.mark_path(remote.layout.prefix, "")


def keys_file(remote: Remote) -> str:
    return f"{remote.facts.home}/.ssh/authorized_keys"


def let_in(cluster: str, name: str, key: str) -> Step:
    def line(remote: Remote) -> str:
        return gate.key_line(remote.layout.prefix, key, cluster, name)

    def check(remote: Remote) -> str:
        there = f"grep -qxF -- {quote(line(remote))} {quote(keys_file(remote))}"
        return "" if remote.as_login(there, check=False).exit_code == 0 else "missing"

    def apply(remote: Remote) -> None:
        note(remote, cluster, name)
        rewrite(remote, gate.comment(cluster, name), line(remote))

    return Step(f"grant: the key of {name}", check, apply, name="key")


def opened(name: str) -> Step:
    """Last: until now the key lets nothing through."""

    def check(remote: Remote) -> str:
        there = remote.read(gate.mark_path(remote.layout.prefix, name))
        return "missing" if there is None else ""

    def apply(remote: Remote) -> None:
        mark = quote(gate.mark_path(remote.layout.prefix, name))
        remote.run(f"umask 022; : > {mark}; chmod 644 {mark}")

    return Step(f"grant: {name} may pass", check, apply, name="open")


def closed(name: str) -> Step:
    def check(remote: Remote) -> str:
        there = remote.read(gate.mark_path(remote.layout.prefix, name))
        return "" if there is None else "it may pass"

    def apply(remote: Remote) -> None:
        remote.run(f"rm -f {quote(gate.mark_path(remote.layout.prefix, name))}")

    return Step(f"grant: {name} may pass no more", check, apply, name="close")


def line_gone(cluster: str, name: str) -> Step:
    comment = gate.comment(cluster, name)

    def check(remote: Remote) -> str:
        return "there" if comment in noted(remote) or has_line(remote, comment) else ""

    def apply(remote: Remote) -> None:
        if has_line(remote, comment):
            rewrite(remote, comment)
        left = [other for other in noted(remote) if other != comment]
        if left:
            changes.record(remote, NAME, {"lines": left})
        elif noted(remote):
            changes.forget(remote, NAME)

    return Step(f"grant: the key of {name} is gone", check, apply, name="key-gone")


def sessions_ended(name: str) -> Step:
    """A connection that stands would outlive its key."""

    def run(remote: Remote, *, end: bool) -> str:
        script = gate.sessions_script(remote.layout.prefix, name, end=end)
        return remote.run(f"{quote(remote.python)} -", stdin=script.encode()).stdout

    def check(remote: Remote) -> str:
        return "a session is open" if run(remote, end=False).split() else ""

    def apply(remote: Remote) -> None:
        run(remote, end=True)

    return Step(f"grant: sessions of {name} are ended", check, apply, name="sessions")


def lines_gone() -> Step:
    """Whoever was let in, when the cluster goes."""

    def check(remote: Remote) -> str:
        return "granted by oakctl" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> None:
        for comment in noted(remote):
            if has_line(remote, comment):
                rewrite(remote, comment)
        changes.forget(remote, NAME)

    return Step("grant: no key is left", check, apply)


def note(remote: Remote, cluster: str, name: str) -> None:
    lines = sorted({*noted(remote), gate.comment(cluster, name)})
    changes.record(remote, NAME, {"lines": lines})


def noted(remote: Remote) -> list[str]:
    lines = changes.read(remote).get(NAME, {}).get("lines", [])
    return [str(line) for line in lines]


def has_line(remote: Remote, comment: str) -> bool:
    found = f"grep -q {quote(f' {comment}$')} {quote(keys_file(remote))}"
    return remote.as_login(found, check=False).exit_code == 0


def rewrite(remote: Remote, comment: str, line: str = "") -> None:
    """Take the line with this comment out, and put `line` in; all others stay as they are."""
    file = quote(keys_file(remote))
    put = f"printf '%s\\n' {quote(line)}" if line else ":"
    remote.as_login(
        "umask 077; "
        f"mkdir -p {quote(f'{remote.facts.home}/.ssh')} && f=$(readlink -f {file}) || exit 1; "
        '[ -e "$f" ] || : > "$f"; new="$f.oakctl"; cp -p "$f" "$new" || exit 1; '
        # The line is in the command, which arrives whole or not at all, and is no secret.
        f'{{ grep -v {quote(f" {comment}$")} "$f"; [ $? -le 1 ] && {put}; }} > "$new" || exit 1; '
        '[ -s "$new" ] || [ ! -s "$f" ] || [ "$(wc -l < "$f")" -le 1 ] || exit 1; '
        # On the disk before it has its name: without this file nobody may come in.
        'sync -- "$new" && mv "$new" "$f"'
    )
