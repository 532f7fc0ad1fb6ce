"""Files of the host itself, outside of our folder: replaced whole, or not at all.

A file that a host boots or starts by is never seen empty or cut off, wherever a connection or the
power goes: what arrives is compared with what was sent before it takes the old one's place. As the
superuser. Does not belong here: what is in them (`playbooks/`), our own files (`Remote.put`), the
record of what was changed (`changes`).
"""

from __future__ import annotations

import hashlib
from shlex import join, quote

from oakctl.errors import OakError
from oakctl.remote.step import CommandFailed, Remote

KEPT = ".before-oakctl"  # the file as it was, beside it
MISSING = 44  # our own exit code for a file that is not there

# $1 the file, $2 the sha256 of what comes, $3 what the copy of the old one is called beside it.
# The boot partition of a Raspberry Pi has no owners and modes: what cannot be kept is not kept.
_REPLACE = """
set -e; umask 022
file=$1 new=$1.oakctl-new kept=$1$3
trap 'rm -f -- "$new"' EXIT
trap 'exit 65' HUP INT PIPE TERM
mkdir -p -- "${file%/*}"
rm -f -- "$new"
if [ -e "$file" ]; then
    if ! [ -e "$kept" ]; then cp -- "$file" "$new"; sync; mv -f -- "$new" "$kept"; fi
    cp -p -- "$file" "$new" 2>/dev/null || cp -- "$file" "$new"
fi
cat >"$new"
[ "$(sha256sum <"$new" | cut -d' ' -f1)" = "$2" ] || { echo "$file arrived damaged" >&2; exit 65; }
sync
mv -f -- "$new" "$file"
sync
"""


def replace(remote: Remote, path: str, content: str) -> None:
    """Give a file this content, its owner and mode kept; the first time, keep a copy beside it.

    Raises CommandFailed when not all of it arrived: then nothing was changed.
    """
    body = content.encode()
    words = ["sh", "-c", _REPLACE, "sh", path, hashlib.sha256(body).hexdigest(), KEPT]
    remote.root(join(words), stdin=body)


def read(remote: Remote, path: str) -> str | None:
    """The content of a file, None where there is none.

    Raises CommandFailed when it is not told, OakError when it is no text: that could not be put
    back as it was.
    """
    file = quote(path)
    found = remote.root(f"[ -e {file} ] || exit {MISSING}; cat -- {file}", check=False)
    if found.exit_code not in (0, MISSING):
        raise CommandFailed(found)
    if "\ufffd" in found.stdout:
        raise OakError(f"{remote.name}: {path} is not text in UTF-8", hint=f"file {file}")
    return found.stdout if found.exit_code == 0 else None


def remove(remote: Remote, path: str) -> None:
    """Take a file away that was not there before us, with the copy of it."""
    remote.root(f"rm -f -- {quote(path)} {quote(path + KEPT)}")


def forget_copy(remote: Remote, path: str) -> None:
    """Take the copy away: the file is as it was, or its owner's to change."""
    remote.root(f"rm -f -- {quote(path + KEPT)}")
