"""Where we live on a host and who keeps our processes running there: decided from facts. Pure.

Belongs here: the choice, its reason in words, and what is missing where there is none. Does not
belong here: doing it (`supervisor`, `privilege`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from oakctl.errors import OakError
from oakctl.remote.equipment import Place
from oakctl.remote.facts import HostFacts

PLAIN = "plain"  # a lab's keeper
SYSTEM = "systemd"
USER = "systemd --user"

SYSTEM_PREFIX = "/opt/oakctl"
HOME_PREFIX = ".oakctl"  # below the home directory
ADMINISTRATORS = frozenset({"sudo", "wheel", "admin", "google-sudoers"})
OLDEST_SYSTEMD = 240  # "append:" for logs
LEAST_DISK_MB = 100
LEAST_INODES = 2000


@dataclass(frozen=True)
class Residence:
    """A supervisor and a prefix; `reason` is shown in the plan."""

    supervisor: str
    prefix: str
    as_root: bool  # what lies below the prefix is the superuser's
    reason: str


@dataclass(frozen=True)
class Homeless:
    """There is no place for us; `remedy` is what to type."""

    reason: str
    remedy: str


def choose(facts: HostFacts, *, password_given: bool = False) -> Residence | Homeless:
    """The residence on this host; never asks, never tries."""
    home = f"{facts.home}/{HOME_PREFIX}"
    if facts.supervisor.startswith("plain:"):
        return Residence(PLAIN, home, False, "the lab keeps processes running here")
    if facts.init != SYSTEM:
        return Homeless(
            f"process 1 is {facts.init or 'not known'}, not systemd: "
            "nothing there keeps our processes running",
            "use a host with systemd, or try it: oakctl lab up",
        )
    if facts.systemd_version and facts.systemd_version < OLDEST_SYSTEMD:
        return Homeless(
            f"systemd {facts.systemd_version} is too old: {OLDEST_SYSTEMD} is the oldest",
            "upgrade the distribution",
        )
    if facts.user_manager and _ours(facts, home):
        # Rights that came later do not make a second home beside the first.
        return Residence(USER, home, False, f"it was set up there for {facts.user} alone")
    rights = _rights(facts, password_given)
    if rights:
        return Residence(SYSTEM, SYSTEM_PREFIX, True, rights)
    if facts.user_manager:
        why = "may not become the superuser"
        return Residence(USER, home, False, f"{facts.user} {why}, and has a systemd of their own")
    return Homeless(
        f"{facts.user} may not become the superuser ({_without(facts)}), "
        "and has no systemd of their own",
        f"as an administrator of it: {_grant(facts)}",
    )


def where_to_remove(host: str, facts: HostFacts, found: Residence | Homeless) -> Residence | None:
    """Where something of ours may be taken away; None where nothing is.

    Raises OakError when it is where `found` does not lead: a removal that touched nothing would
    be taken for a done one.
    """
    here = [install.prefix for install in facts.installs if _ours(facts, install.prefix)]
    if isinstance(found, Residence) and (found.prefix in here or not here):
        return found
    if not here:
        return None
    remedy = found.remedy if isinstance(found, Homeless) else _grant(facts)
    raise OakError(
        f"{host}: what is to be removed is in {' and '.join(here)}, "
        f"and is not to be reached as {facts.user}",
        hint=f"name the host anew with the user that it was set up by; or, on it: {remedy}",
    )


def _ours(facts: HostFacts, prefix: str) -> bool:
    """Whether something is set up below `prefix`; what cannot be read may be."""
    there = (install for install in facts.installs if install.prefix == prefix)
    return any(i.recorded or i.roles or not i.readable for i in there)


def needs_password(facts: HostFacts) -> bool:
    """Whether sudo would ask this user for a password, and would probably believe it."""
    return facts.privilege == "sudo-password" and bool(ADMINISTRATORS & set(facts.groups))


def _rights(facts: HostFacts, password_given: bool) -> str:
    if facts.privilege == "root":
        return "the login user is the superuser"
    if facts.privilege in ("sudo", "doas"):
        return f"{facts.privilege} asks {facts.user} for no password"
    if needs_password(facts) or (facts.privilege == "sudo-password" and password_given):
        return f"sudo asks {facts.user} for a password"
    return ""


def _without(facts: HostFacts) -> str:
    if facts.privilege == "sudo-password":
        return f"sudo: {facts.sudo_refusal}" if facts.sudo_refusal else "sudo refuses"
    if facts.privilege == "doas-password":
        return "doas reads a password from a terminal only"
    return "there is neither sudo nor doas"


def _grant(facts: HostFacts) -> str:
    if facts.privilege == "doas-password":
        return f"echo 'permit nopass {facts.user}' >>/etc/doas.conf"
    if facts.privilege == "sudo-password":
        return f"usermod -aG sudo {facts.user}"
    return f"loginctl enable-linger {facts.user}"


def place_of(facts: HostFacts, residence: Residence) -> Place:
    """The file system below the prefix."""
    return facts.opt if residence.as_root else facts.home_place


def require_usable(host: str, facts: HostFacts, found: Residence | Homeless) -> Residence:
    """`found` when a host can be made ours; raises OakError with all that is missing there."""
    wrong = [error for _, error in faults(host, facts, found)]
    if wrong:
        first, *others = wrong
        also = tuple(f"also {other.message} ({other.hint})" for other in others)
        raise OakError(first.message, hint=first.hint, details=also)
    assert isinstance(found, Residence)
    return found


def faults(
    host: str, facts: HostFacts, found: Residence | Homeless
) -> Iterator[tuple[str, OakError]]:
    """All that stands in the way of living there, each with what it is about."""
    if isinstance(found, Homeless):
        yield "host", OakError(f"{host}: {found.reason}", hint=found.remedy)
        return
    if not found.as_root and not facts.home_writable:
        yield (
            "disk",
            OakError(
                f"{host}: {facts.user} cannot write to {facts.home}",
                hint="log in as a user with a writable home directory",
            ),
        )
    for error in _room(host, found.prefix, place_of(facts, found)):
        yield "disk", error


def _room(host: str, prefix: str, place: Place) -> Iterator[OakError]:
    if place.read_only:
        yield OakError(
            f"{host}: the file system of {prefix} is read-only",
            hint=f"oakctl host run {host} -- sudo mount -o remount,rw /",
        )
    if place.free_mb < LEAST_DISK_MB:
        yield OakError(
            f"{host}: {place.free_mb} MiB are free for {prefix}, {LEAST_DISK_MB} MiB are needed",
            hint=f"make room on the file system of {prefix}",
        )
    if place.inodes > 0 and 0 <= place.inodes_free < LEAST_INODES:
        yield OakError(
            f"{host}: {place.inodes_free} inodes are free for {prefix}, {LEAST_INODES} are needed",
            hint=f"remove files from the file system of {prefix}",
        )
