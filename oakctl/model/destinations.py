"""Where a machine is, as people write it: `user@address:port`.

Belongs here: reading it. Does not belong here: what ssh_config makes of it (`remote.route`).
"""

from __future__ import annotations

import re

# Neither user nor address begins with a dash: `ssh` and others would take it for an option.
_FORM = re.compile(
    r"(?:(?P<user>[\w.][\w.+-]*)@)?"
    r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<address>[\w.][\w.-]*))"
    r"(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)


def read(text: str, unsaid: int = 22) -> tuple[str, str, int]:
    """(user, address, port); an IPv6 address stands in brackets. Raises ValueError.

    `unsaid` is the port where none is written.
    """
    match = _FORM.fullmatch(text)
    port = int((match and match["port"]) or 22)
    if match is None or not 0 < port < 65536:
        raise ValueError(f"{text!r} is not USER@ADDRESS[:PORT]")
    return (
        match["user"] or "",
        match["six"] or match["address"],
        port if match["port"] else unsaid,
    )
