"""The programs that a machine lab needs, and the Debian packages that have them.

Belongs here: finding what is missing and installing it. Does not belong here: using it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from oakctl.errors import OakError
from oakctl.lab.machines.shell import PATH, Shell

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INSTALL_S = 900.0

PACKAGES = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "bridge": "iproute2",
    "ping": "iputils-ping",
    "ssh": "openssh-client",
    "sysctl": "procps",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
}


def missing_packages(has: Callable[[str], bool], keyring: bool) -> tuple[str, ...]:
    """Packages to install, given which programs are there. Pure."""
    wanted = {package for program, package in PACKAGES.items() if not has(program)}
    if not keyring:
        wanted.add("debian-archive-keyring")
    return tuple(sorted(wanted))


def check_machine() -> None:
    """Raises OakError where no machine lab can be: not Linux, not root."""
    if sys.platform != "linux":
        raise OakError("real hosts are made on Linux only", hint="oakctl lab up --kind loopback")
    if os.geteuid() != 0:
        raise OakError(
            "real hosts are made by root only",
            hint="sudo oakctl lab up --kind machines, or oakctl lab up --kind loopback",
        )


async def install(shell: Shell, progress: Callable[[str], None]) -> None:
    """Install what is missing; raises OakError naming the packages when that can't be."""
    packages = missing_packages(_has, KEYRING.exists())
    if not packages:
        return
    progress(f"installing {' '.join(packages)}")
    hint = f"apt-get install {' '.join(packages)}"
    if not _has("apt-get"):
        raise OakError(f"this machine lacks {' '.join(packages)} and has no apt-get", hint=hint)
    apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        await shell.run((*apt, "update"), timeout_s=INSTALL_S, more=quiet)
        await shell.run(
            (*apt, "install", "--yes", "--no-install-recommends", *packages),
            timeout_s=INSTALL_S,
            more=quiet,
        )
    except OakError as error:
        raise OakError(error.message, hint=hint, details=error.details) from error
    left = missing_packages(_has, KEYRING.exists())
    if left:
        raise OakError(f"{' '.join(left)} did not bring what the lab needs", hint=hint)


def _has(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None
