"""A script as a command line that every login shell hands on unchanged. Pure.

The SSH server gives a command to the user's login shell, whatever that is: in csh a quoted text
may not go over lines and `!` recalls history, in fish a backslash means something inside quotes.
Does not belong here: becoming another user (`privilege`).
"""

from __future__ import annotations

import re
import shlex

_MEANS_SOMETHING_SOMEWHERE = re.compile(r"[\n\r!\\]")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _./=,:@+-")


def words(script: str) -> str:
    """`script` for `sh`, as one command line. Marks of letters and digits in it stay readable."""
    if not _MEANS_SOMETHING_SOMEWHERE.search(script):
        return f"sh -c {shlex.quote(script)}"
    escaped = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in script.encode())
    return f'sh -c \'eval "$(printf %b "{escaped}")"\''
