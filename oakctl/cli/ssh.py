"""Becoming the system's `ssh` for a host that we know.

Belongs here: how this process is replaced. Does not belong here: the argument list
(`remote.openssh`), what oakctl itself does over SSH (`oakctl.remote`).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from oakctl.errors import OakError
from oakctl.model.views import HostView


def arguments(host: HostView, command: Sequence[str]) -> list[str]:
    """The whole argument list; each word of `command` arrives as one word."""
    from oakctl.remote import openssh
    from oakctl.remote.target import Target

    return openssh.arguments(Target.of(host), command)


def become(host: HostView, command: Sequence[str]) -> NoReturn:
    """Replace this process by `ssh`; raises OakError when there is none."""
    program = shutil.which("ssh")
    if program is None:
        raise OakError("this machine has no `ssh`", hint="apt-get install openssh-client")
    words = arguments(host, command)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, words)  # noqa: S606 - an argument list, no shell
