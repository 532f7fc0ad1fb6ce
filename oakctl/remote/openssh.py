"""The system's `ssh` for a host that we know, as strict as we are.

Belongs here: its argument list, so that host keys, keys of ours and jump hosts are the same as
for everything else. Does not belong here: running it (`cli.ssh`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from oakctl.remote import ssh_config
from oakctl.remote.route import route
from oakctl.remote.target import Target


def arguments(target: Target, command: Sequence[str] = ()) -> list[str]:
    """The whole argument list; each word of `command` arrives as one word.

    Jump hosts are hops of our own, as `-J` would check their keys by other files than ours.
    Raises UsageError where the way to the host is none.
    """
    proxy = ""
    *hops, last = route(target)
    for hop in hops:
        words = ["ssh", *_options(hop, proxy), "-W", _for_w(last, hops, hop), "--", hop.called]
        # Every `ssh` that hands the command on would take % for a token of its own.
        proxy = shlex.join(words).replace("%", "%%")
    found = ["ssh", *_options(last, proxy), "--", last.called]
    return [*found, shlex.join(command)] if command else found


def _for_w(last: Target, hops: Sequence[Target], hop: Target) -> str:
    """Where a hop leads to: the next one."""
    following = [*hops[1:], last][list(hops).index(hop)]
    return f"[{following.address}]:{following.port}"


def _options(machine: Target, proxy: str) -> list[str]:
    keys = machine.host_keys
    files = keys.holders(*machine.key_place) or (keys.store, *keys.files)
    users = " ".join(f'"{file}"' for file in files)
    found = [
        # What is configured beside the way there is the user's: colours, forwardings, ciphers.
        *(ssh_config.arguments() if machine.alias else ("-F", "none")),
        *("-p", str(machine.port), "-l", machine.login),
        *("-o", f"UserKnownHostsFile={users}", "-o", "GlobalKnownHostsFile=none"),
        # Whatever is configured: a changed key is refused, an unknown one asked about.
        *("-o", "StrictHostKeyChecking=ask"),
    ]
    if machine.host_key_name:
        found += ["-o", f"HostKeyAlias={machine.host_key_name}"]
    if machine.identity_file:
        found += ["-i", machine.identity_file, "-o", "IdentitiesOnly=yes"]
    elif not machine.alias or machine.before:
        existing = [str(path) for key in machine.key_files if (path := _path(key)).exists()]
        found += [word for key in existing for word in ("-i", key)]
    if proxy:
        found += ["-o", f"ProxyCommand={proxy}"]
    elif machine.alias and not machine.proxy_command:
        found += ["-o", "ProxyCommand=none"]
    return found


def _path(file: str) -> Path:
    return Path(file).expanduser()
