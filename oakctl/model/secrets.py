"""Named secrets: what a service asks for, and how a value travels from the root to its node.

Belongs here: the words that root, cluster and worker share about them, and the form of names.
Does not belong here: where a value is kept (`root.secrets`, `cluster.secrets`,
`worker.secrets`). A value travels in base 64, and no `repr` here shows one.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

PLAIN = "plain"
REGISTRY = "registry"  # a login: the name of a user, and as the value the password
FILE = "file"
ENV = "env"

DIRECTORY = "/run/secrets"  # of a container
VARIABLE = "OAKCTL_SECRETS"  # where an instance finds its files
LARGEST = 500_000  # bytes, as Docker's own secrets
LARGEST_VARIABLE = 100_000  # bytes; the kernel takes 128 KiB, with the name
DOCKER_HUB = "docker.io"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class SecretUse:
    """A secret that each instance of a service gets.

    `target` of a file: a name in the instance's directory of secrets, or an absolute path inside
    a container; of a variable: its name.
    """

    name: str
    target: str
    kind: str = FILE  # file, env

    @property
    def path(self) -> str:
        """Where the file is in a container."""
        return self.target if self.target.startswith("/") else f"{DIRECTORY}/{self.target}"


@dataclass(frozen=True)
class SecretValue:
    """A secret with its value, on its way or in a file of mode 0600."""

    name: str
    version: int  # grows with each change; milliseconds since the epoch or more
    value: str = field(repr=False)  # base 64
    kind: str = PLAIN
    registry: str = ""  # of a login: the host whose images it opens
    username: str = ""

    @property
    def content(self) -> bytes:
        """What it says; raises ValueError for what is not base 64."""
        return decoded(self.value)


def encoded(content: bytes) -> str:
    """How it travels."""
    return base64.b64encode(content).decode()


def decoded(value: str) -> bytes:
    """What `encoded` was given; raises ValueError."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a value is not in base 64") from None  # which would show it


def is_name(text: str) -> bool:
    """Whether a secret can have this name; it is one of a file too."""
    return bool(_NAME.fullmatch(text))


def not_a_variable(content: bytes) -> str:
    """Why this cannot be the value of a variable, in words; empty: it can."""
    if len(content) > LARGEST_VARIABLE:
        return f"has {len(content)} bytes; a variable takes {LARGEST_VARIABLE}"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "is not text"
    return "has a NUL in it" if "\0" in text else ""


def registry_of(image: str) -> str:
    """The host of the registry that an image comes from, as Docker reads its name."""
    first, slash, _ = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB
    return registry_host(first)


def registry_host(text: str) -> str:
    """A registry's host in the one form that is compared."""
    host = text.lower()
    return DOCKER_HUB if host in _HUB_NAMES else host
