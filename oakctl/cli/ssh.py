"""Becoming the system's `ssh` for a host that we know.

Belongs here: the argument list. Does not belong here: what oakctl itself does over SSH
(`oakctl.remote`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from oakctl import paths
from oakctl.errors import OakError
from oakctl.model.views import HostView


def arguments(host: HostView, command: Sequence[str]) -> list[str]:
    """The whole argument list; each word of `command` arrives as one word."""
    known = [paths.known_hosts(), Path.home() / ".ssh" / "known_hosts"]
    files = " ".join(f'"{file}"' for file in known)
    found = ["ssh", "-p", str(host.port), "-o", f"UserKnownHostsFile={files}"]
    if host.identity_file:
        found += ["-i", host.identity_file, "-o", "IdentitiesOnly=yes"]
    if host.jump:
        found += ["-J", ",".join(host.jump)]
    if host.user:
        found += ["-l", host.user]
    found += ["--", host.address]
    if command:
        found.append(shlex.join(command))
    return found


def become(host: HostView, command: Sequence[str]) -> NoReturn:
    """Replace this process by `ssh`; raises OakError when there is none."""
    program = shutil.which("ssh")
    if program is None:
        raise OakError("this machine has no `ssh`", hint="apt-get install openssh-client")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, arguments(host, command))  # noqa: S606 - an argument list, no shell
