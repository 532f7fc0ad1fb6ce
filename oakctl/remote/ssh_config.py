"""What the user's ssh_config says of a host, as the system's `ssh` understands it.

Belongs here: asking `ssh -G`, so that Include, Match, aliases and every version's keywords mean
here what they mean there; which options we go by, and which we cannot honour. Does not belong
here: what follows from them for a connection (`route`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from oakctl.errors import UsageError

DEADLINE_S = 10.0  # `Match exec` runs commands of the user's
SYSTEM = Path("/etc/ssh/ssh_config")
NOBODY = "host-without-configuration.invalid"

# How a connection is made and who is believed, and yet not gone by here. What is in neither this
# nor `route` is of no consequence: terminals, forwardings, what is sent along, keep-alives.
NOT_HONOURED = frozenset(
    {
        "addressfamily",
        "bindaddress",
        "bindinterface",
        "casignaturealgorithms",
        "certificatefile",
        "ciphers",
        "hostkeyalgorithms",
        "kexalgorithms",
        "knownhostscommand",
        "macs",
        "pkcs11provider",
        "proxyusefdpass",
        "pubkeyacceptedalgorithms",
        "pubkeyauthentication",
        "requiredrsasize",
        "revokedhostkeys",
        "securitykeyprovider",
    }
)
TRUSTING = ("no", "off", "false")


@dataclass(frozen=True)
class Configured:
    """What differs from ssh's own defaults; keywords in lower case, values in their order."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def one(self, keyword: str) -> str:
        """The value of a keyword; empty where it is not set, or set to `none`."""
        found = self.values.get(keyword, ())
        return "" if not found or found[0] == "none" else found[0]

    def not_honoured(self) -> tuple[str, ...]:
        """Options that would matter and that we do not go by, each in words."""
        found = []
        for keyword, values in sorted(self.values.items()):
            if keyword == "stricthostkeychecking":
                if values[0] in TRUSTING:
                    found.append(f"{keyword} {values[0]}: host keys are always checked")
            elif keyword in NOT_HONOURED:
                found.append(f"{keyword} {' '.join(values)}")
        return tuple(found)


def files() -> tuple[Path, ...]:
    """The files that are read, where they exist."""
    return tuple(file for file in (_users(), SYSTEM) if file.exists())


def arguments() -> tuple[str, ...]:
    """What `ssh` has to be told so that it reads the same files."""
    if Path.home() == Path(pwd.getpwuid(os.getuid()).pw_dir):
        return ()
    # `ssh` looks into the account's home directory, whatever HOME says.
    return ("-F", str(_users()) if _users().exists() else "none")


def read(address: str, *, user: str = "", port: int = 0) -> Configured:
    """What is configured for `address`, given that user and port are given (or not).

    Raises UsageError where `ssh` does not understand its configuration.
    """
    program = shutil.which("ssh")
    if not files() or program is None or arguments()[1:] == ("none",):
        return Configured()
    given = (*(("-l", user) if user else ()), *(("-p", str(port)) if port else ()))
    found = _parsed(_ask(program, (*arguments(), *given), address))
    plain = _parsed(_plain(program))
    name = (address.lower(),)
    differing = {
        keyword: values
        for keyword, values in found.items()
        if values != plain.get(keyword) and not (keyword == "hostname" and values == name)
    }
    return Configured(differing)


def unreadable() -> str:
    """Why the user's file has no say, in words; empty when it has."""
    if _users().exists() and shutil.which("ssh") is None:
        return f"{_users()} is not read: there is no `ssh` here that understands it"
    return ""


@lru_cache(maxsize=4)
def _plain(program: str) -> str:
    return _ask(program, ("-F", "none"), NOBODY)


def _ask(program: str, words: tuple[str, ...], address: str) -> str:
    try:
        done = subprocess.run(
            [program, "-G", *words, "--", address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"`ssh -G {address}` did not say within {DEADLINE_S:g} s what is configured",
            hint=f"see what its `Match exec` runs: grep -i exec {_users()}",
        ) from error
    if done.returncode != 0:
        raise UsageError(
            f"ssh does not understand its configuration for {address}",
            hint=f"ssh -G {address}",
            details=tuple(done.stderr.strip().splitlines()[-5:]),
        )
    return done.stdout


def _parsed(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        found[keyword.lower()] = (*found.get(keyword.lower(), ()), value)
    return found


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """`text` with ssh's %-tokens put in; raises UsageError for one that is not known."""
    pieces = text.split("%%")
    return "%".join(_expanded(piece, tokens, text) for piece in pieces)


def _expanded(piece: str, tokens: Mapping[str, str], text: str) -> str:
    first, *rest = piece.split("%")
    for part in rest:
        if part[:1] not in tokens:
            raise UsageError(
                f"%{part[:1]} in {text!r} of ssh_config is not known here",
                hint=f"write it out in {_users()}",
            )
    return first + "".join(tokens[part[0]] + part[1:] for part in rest)


def tokens(*, alias: str, address: str, port: int, user: str, local_user: str) -> dict[str, str]:
    """What ssh's %-tokens stand for."""
    name = socket.gethostname()
    return {
        "d": str(Path.home()),
        "h": address,
        "i": str(os.getuid()),
        "L": name.partition(".")[0],
        "l": name,
        "n": alias,
        "p": str(port),
        "r": user,
        "u": local_user,
    }


def _users() -> Path:
    return Path.home() / ".ssh" / "config"
