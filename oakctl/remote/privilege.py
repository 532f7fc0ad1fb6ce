"""How a command becomes the superuser's: directly, by sudo with or without a password, by doas.

Belongs here: the words around a command, the one try of a password, and what a refusal means.
Nothing of what sudo asks is ever read: a password goes into the standard input, and the rest when
the command says that it is there, whether sudo took the password or not. Does not
belong here: running the command (`connection`), whether the superuser is needed (`residence`).
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, field

from oakctl.errors import OakError
from oakctl.remote.facts import HostFacts
from oakctl.remote.shells import one_line, sh

ASKS = "asks for a password"  # the mark by which a terminal knows that it may ask for one


class WrongPassword(OakError):
    """Sudo did not believe it; it is not tried again, so that no account is locked."""


@dataclass(frozen=True)
class Wrapped:
    """A command line, and what its standard input begins with (never shown).

    `password` is sent at once, `go` and what follows only when the command has written `ready`:
    sudo-rs takes all that is there for the password. Each question of sudo's has the nonce
    `asking` on standard error, in whatever words.
    """

    command: str
    password: bytes = field(default=b"", repr=False)
    ready: str = ""
    go: bytes = b""
    asking: str = ""


def wrap(facts: HostFacts, script: str, password: str = "") -> Wrapped:
    """`script` for `sh`, as the superuser. Raises OakError where that cannot be."""
    if facts.privilege == "root":
        return Wrapped(sh(script))
    if facts.privilege in ("sudo", "doas"):
        return Wrapped(f"{facts.privilege} -n -- {sh(script)}")
    if facts.privilege == "sudo-password" and password:
        return _with_password(script, password)
    raise missing(facts)


def _with_password(script: str, password: str, *options: str) -> Wrapped:
    # Where sudo remembers an earlier login it leaves the password unread: the shell then finds
    # it, and has to pass over it, or it would end up in the command's own input.
    ready, go, asking = (secrets.token_hex(8) for _ in range(3))
    begin = (
        f'echo {ready}; IFS= read -r line; [ "$line" = {go} ] || IFS= read -r line; '
        f'[ "$line" = {go} ] || exit 66; unset line; '
    )
    words = shlex.join(["sudo", *options, "-S", "-p", asking, "--"])
    command = f"{words} {sh(begin + one_line(script))}"
    return Wrapped(command, f"{password}\n".encode(), ready, f"{go}\n".encode(), asking)


def trial(password: str) -> Wrapped:
    """A command that ends with 0 exactly when sudo believes the password; for one try."""
    return _with_password("true", password, "-k")


def missing(facts: HostFacts) -> OakError:
    """Why this user is not the superuser and cannot become it as things are."""
    user = facts.user
    if facts.privilege == "sudo-password":
        if "tty" in facts.sudo_refusal or "terminal is required" in facts.sudo_refusal:
            return refusal(facts, facts.sudo_refusal)
        return OakError(
            f"sudo {ASKS} for {user}",
            hint="run it on a terminal, which asks for it, or give --sudo-password-file FILE",
        )
    if facts.privilege == "doas-password":
        return OakError(
            f"doas {ASKS} for {user}, and takes it from a terminal only",
            hint=f"on the host, as root: echo 'permit nopass {user}' >>/etc/doas.conf",
        )
    return OakError(
        f"this needs the superuser, and {user} cannot become it: there is neither sudo nor doas",
        hint="name the host anew with the user root, or on it, as root: "
        f"apt-get install sudo && usermod -aG sudo {user}",
    )


# What sudo and sudo-rs say in the language C → what it means, and what to type. For words only:
# whether a command ran is seen from the command itself.
_REFUSALS = (
    (
        ("not in the sudoers", "not allowed to", "may not run sudo", "I'm sorry"),
        "{user} may not use sudo",
        "on the host, as root: usermod -aG sudo {user}",
    ),
    (
        ("terminal is required", "must have a tty", "no tty present"),
        "sudo wants a terminal (requiretty)",
        "on the host, as root: echo 'Defaults:{user} !requiretty' >/etc/sudoers.d/90-oakctl",
    ),
    (
        ("no new privileges",),
        "sudo cannot work in this session (no_new_privs)",
        "log in to the machine itself, not to a container on it",
    ),
    (
        ("setuid bit", "effective uid is not 0"),
        "sudo is not installed as it should be, or its file system is mounted nosuid",
        "on the host, as root: chmod u+s /usr/bin/sudo",
    ),
    (
        ("account is locked", "expired", "Account or password"),
        "the account of {user} is locked or its password has expired",
        "on the host, as root: faillock --user {user} --reset; passwd {user}",
    ),
)


def refusal(facts: HostFacts, said: str) -> OakError:
    """What it means that sudo or doas ran nothing."""
    details = tuple(line for line in said.strip().splitlines() if line.strip())[-5:]
    for words, meaning, hint in _REFUSALS:
        if any(word in said for word in words):
            user = facts.user
            return OakError(meaning.format(user=user), hint=hint.format(user=user), details=details)
    if facts.privilege == "sudo-password":
        return WrongPassword(
            f"sudo did not take the password of {facts.user}; it was tried once",
            hint=f"ssh to it, see whether it works by hand: sudo -k -v (as {facts.user})",
            details=details,
        )
    return OakError(
        f"{facts.privilege or 'sudo'} refused {facts.user}",
        hint="see whether it works by hand on the host: sudo -n true",
        details=details,
    )
