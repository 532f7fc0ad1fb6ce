"""Scripts for `sh` that pass through any login shell: sh's own family, csh, fish, busybox.

Belongs here: what a login shell would take apart, and how it is kept from that. Does not belong
here: what is run (`connection`), or as whom (`privilege`).
"""

from __future__ import annotations

import base64
import shlex

# csh ends a quoted word at a line end and takes `!` for its history, fish has escapes in quotes.
SPECIAL = "\n\\!"


def one_line(script: str) -> str:
    """A script that does the same as `script`, in one line that every login shell leaves whole.

    A simple command stays readable as it is, in lists of processes too.
    """
    if not any(character in script for character in SPECIAL):
        return script
    text = base64.b64encode(script.encode()).decode()
    # Where there is no base64, nothing is run and that is the exit code.
    return f'eval "$(echo {text} | base64 -d || echo exit 127)"'


def sh(script: str, *arguments: str) -> str:
    """The command line that has `sh` run `script`; `arguments` are its $1 and so on."""
    words = ["sh", "-c", one_line(script), *(("sh", *arguments) if arguments else ())]
    return shlex.join(words)
