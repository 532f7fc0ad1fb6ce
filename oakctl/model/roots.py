"""Roots beside the one that made a cluster: their names, their rules, and what is said of them.

A *granted root* is another operator's root that the owner of a cluster lets in. Belongs here: the
rules that it is held to, and the messages between the owner's root and the cluster about it. Does
not belong here: whether something is admitted (`scheduling.admission`); and what containers may
have of a worker's host, which is another thing (`node.ContainerGrants`, `etc/grants.json`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oakctl.model.resources import Resources

OWNER = "root"  # by which rules call the root that made the cluster
EVERYBODY = "*"  # every granted root that has no rules of its own
FORM = re.compile(r"[a-z0-9]{1,30}")


def is_name(text: str) -> bool:
    """Whether a granted root may be called so: it stands in subjects, files and job names."""
    return FORM.fullmatch(text) is not None and text != OWNER


@dataclass(frozen=True)
class RootRules:
    """What a root may do in a cluster; None leaves a thing free.

    `namespaces`, `images` and `runtimes` are globs, of which one has to match. Shares are parts of
    what the cluster's workers have (0 to 1), `vcpus` and `memory_mb` (MiB) amounts; where both are
    given, the smaller counts. `grants`: capabilities, devices and paths of hosts, as far as each
    worker's own operator gives them.
    """

    namespaces: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    cpu_share: float | None = None
    memory_share: float | None = None
    vcpus: float | None = None
    memory_mb: int | None = None
    privileged: bool | None = None
    grants: bool | None = None


@dataclass(frozen=True)
class RootGrant:
    """Let a root in, or change its rules: the cluster gets the hash of its bus password.

    An empty hash leaves the password as it is.
    """

    name: str
    bcrypt_hash: str = field(repr=False)
    rules: RootRules = RootRules()


@dataclass(frozen=True)
class RootRevocation:
    """Throw a root out. What it runs is stopped, unless `keep_running`."""

    name: str
    keep_running: bool = False


@dataclass(frozen=True)
class RootSummary:
    """One granted root, for the eyes of the cluster's owner."""

    name: str
    rules: RootRules
    since: float  # seconds since the epoch
    instances: int = 0
    uses: Resources = Resources()  # what runs and is reserved
    asked_at: float = 0.0  # when it last asked something; 0: not since the orchestrator's start
    revoked: bool = False  # it is out, and something of it is still there


@dataclass(frozen=True)
class AccessFile:
    """What another operator is handed: all that his root needs to reach a cluster.

    `private_key` opens a way to the bus and nothing else; both secrets are written into a file of
    mode 0600 only.
    """

    cluster: str
    name: str  # of the granted root
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]  # "ssh-ed25519 AAAA..."
    private_key: str = field(repr=False)
    secret: str = field(repr=False)
    ca_pem: str
    tls_hostname: str
    node_subnets: str
    rules: RootRules = RootRules()
    kind: str = "oakctl access to a cluster"
    version: int = 1


def granted_user(name: str) -> str:
    """The bus user of a granted root."""
    return f"root-{name}"
