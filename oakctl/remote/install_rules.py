"""What it means that something of ours is on a host already. Pure.

Belongs here: whose it is, and whether it is whole. Does not belong here: taking it away
(`playbooks/uninstall.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.views import HostFinding
from oakctl.remote.equipment import Install
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import FIXABLE, NOTE
from oakctl.remote.residence import SYSTEM_PREFIX

TOPIC = "install"


def installs(host: str, facts: HostFacts, known_role: str) -> Iterator[HostFinding]:
    """A finding for each thing of ours that this root has not made, or that is not whole."""
    known = {role.strip() for role in known_role.split(",") if role.strip()}
    for install in facts.installs:
        if not install.readable:
            if not known:
                yield HostFinding(
                    host,
                    NOTE,
                    TOPIC,
                    f"something of ours is in {install.prefix}, for the superuser's eyes only",
                    f"oakctl host check {host} --sudo-password-file FILE",
                )
        elif foreign := [role for role in install.roles if role not in known]:
            yield _foreign(host, install, foreign)
        elif not install.is_whole and not known:
            yield HostFinding(
                host,
                NOTE,
                TOPIC,
                f"a set-up that did not end left {install.prefix}{_by(install)}",
                "setting it up again carries on; to take it away, on it: "
                f"{_take_away(install.prefix)}",
            )


def _foreign(host: str, install: Install, roles: list[str]) -> HostFinding:
    removals = " and ".join(_removal(role) for role in roles)
    return HostFinding(
        host,
        FIXABLE,
        TOPIC,
        f"it is {', '.join(roles)} already, which this root has not made{_by(install)}",
        f"where it was made: {removals}; if that is gone, on it: {_take_away(install.prefix)}",
    )


def _removal(role: str) -> str:
    kind, _, name = role.rpartition(" ")
    noun = "worker" if kind.startswith("worker") else "cluster"
    return f"oakctl {noun} remove {name}"


def _take_away(prefix: str) -> str:
    if prefix == SYSTEM_PREFIX:
        return (
            "sudo systemctl stop 'oakctl-*'; sudo rm -rf /etc/systemd/system/oakctl-* "
            f"{prefix}; sudo systemctl daemon-reload"
        )
    return (
        "systemctl --user stop 'oakctl-*'; rm -rf ~/.config/systemd/user/oakctl-* ~/.oakctl; "
        "systemctl --user daemon-reload"
    )


def _by(install: Install) -> str:
    return f" (last worked on by {install.holder})" if install.holder else ""
