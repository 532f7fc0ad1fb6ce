"""From the name of a host to the machines on the way to it, each with everything spelled out.

Belongs here: what is given and what ssh_config says made into one answer, for both SSH libraries
and for the system's `ssh`; what is given wins. Does not belong here: reading ssh_config
(`ssh_config`), connecting (`dialling`, `tunnel`).
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from oakctl.errors import UsageError
from oakctl.remote import hostkeys, identity, ssh_config
from oakctl.remote.ssh_config import Configured, expand
from oakctl.remote.target import Target, split_address

GIVEN, CONFIGURED, DEFAULT = "given", "ssh_config", "default"
MOST_HOPS = 8


def route(target: Target) -> tuple[Target, ...]:
    """The jump hosts, first hop first, and the target itself, all of them resolved.

    Blocks for some milliseconds. Raises UsageError for a hop that is no machine, for hops in a
    circle, and where ssh does not understand its configuration.
    """
    return _route(target, ())


def resolve(target: Target) -> Target:
    """The target alone, resolved; hops not looked at."""
    if not target.ssh_config:
        return replace(target, port=target.port or 22)
    found = ssh_config.read(target.address, user=target.user, port=target.port)
    return _merged(target, found)


def _route(target: Target, before: tuple[Target, ...]) -> tuple[Target, ...]:
    here = resolve(target)
    if len(before) >= MOST_HOPS:
        names = " via ".join(each.where for each in before)
        raise UsageError(f"the jump hosts lead in a circle, or too far: {names}")
    hops: tuple[Target, ...] = ()
    for text in here.jump:
        hop = _hop(target, text)
        if hops:  # it is reached through the one before, whatever is configured for it alone
            hops += (replace(resolve(hop), jump=(), proxy_command=""),)
        else:
            hops += _route(hop, (*before, here))
    return (*hops, here)


def _hop(target: Target, text: str) -> Target:
    user, address, port = split_address(text, unsaid=0)
    return Target(
        name=f"{address}, the jump host of {target.before or target.name}",
        before=target.before or target.name,
        address=address,
        port=port,
        user=user,
        # Unless ssh_config says which: the target's key, and the usual ones.
        key_files=identity.with_usual(target.identity_file),
        accept_new=target.accept_new,
        known_hosts=target.known_hosts,
        ssh_config=target.ssh_config,
        passphrases=target.passphrases,
    )


def _merged(target: Target, found: Configured) -> Target:
    address = found.one("hostname") or target.address
    port = target.port or int(found.one("port") or 22)
    user = target.user or found.one("user")
    tokens = ssh_config.tokens(
        alias=target.address,
        address=address,
        port=port,
        user=user or getpass.getuser(),
        local_user=getpass.getuser(),
    )
    agent = _agent(found, tokens)
    jump = target.jump or _jump(found, tokens)
    keys = tuple(_file(file, tokens) for file in found.values.get("identityfile", ()))
    return replace(
        target,
        alias=target.address,
        address=address,
        port=port,
        user=user,
        jump=jump,
        proxy_command="" if jump else expand(found.one("proxycommand"), tokens),
        key_files=() if target.identity_file else (keys or target.key_files),
        keys_only=found.one("identitiesonly") == "yes",
        agent=agent or "",
        without_agent=agent is None,
        host_key_name=expand(found.one("hostkeyalias"), tokens),
        host_key_files=_host_key_files(found, tokens),
        accept_new=target.accept_new or found.one("stricthostkeychecking") == "accept-new",
        ssh_config=False,
        origins=_origins(target, found),
        remarks=(*found.not_honoured(), *filter(None, (ssh_config.unreadable(),))),
    )


def _agent(found: Configured, tokens: Mapping[str, str]) -> str | None:
    """The agent's socket; empty: the usual one, None: none at all."""
    said = found.values.get("identityagent", ("",))[0]
    if said == "none":
        return None
    return "" if said in ("", "SSH_AUTH_SOCK") else _file(said, tokens)


def _jump(found: Configured, tokens: Mapping[str, str]) -> tuple[str, ...]:
    text = expand(found.one("proxyjump"), tokens)
    hops = (hop.strip().removeprefix("ssh://").rstrip("/") for hop in text.split(","))
    return tuple(hop for hop in hops if hop)


def _host_key_files(found: Configured, tokens: Mapping[str, str]) -> tuple[str, ...]:
    """Files of host keys; where only one of the two kinds is said, the other is as usual."""
    said = {
        kind: " ".join(found.values.get(kind, ())).split()
        for kind in ("userknownhostsfile", "globalknownhostsfile")
    }
    if not any(said.values()):
        return ()
    usual = hostkeys.default_files()
    users = said["userknownhostsfile"] or [str(file) for file in usual[1:3]]
    systems = said["globalknownhostsfile"] or [str(file) for file in usual[3:]]
    return tuple(_file(file, tokens) for file in (*users, *systems) if file != "none")


def _file(text: str, tokens: Mapping[str, str]) -> str:
    return str(Path(expand(text.strip('"'), tokens)).expanduser())


def _origins(target: Target, found: Configured) -> tuple[tuple[str, str], ...]:
    """Where each part of the answer comes from."""

    def origin(given: object, *keywords: str) -> str:
        if given:
            return GIVEN
        return CONFIGURED if any(found.values.get(word) for word in keywords) else DEFAULT

    return (
        ("address", origin("hostname" not in found.values, "hostname")),
        ("port", origin(target.port, "port")),
        ("user", origin(target.user, "user")),
        ("keys", origin(target.identity_file, "identityfile", "identitiesonly", "identityagent")),
        ("jump", origin(target.jump, "proxyjump", "proxycommand")),
        ("host key", origin(False, "hostkeyalias", "userknownhostsfile", "globalknownhostsfile")),
    )
