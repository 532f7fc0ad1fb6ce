"""The programs that a machine lab needs, and the Debian packages that have them.

Belongs here: finding what is missing and installing it. Does not belong here: using it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from oakctl.errors import OakError
from oakctl.lab.machines import emulation
from oakctl.lab.machines.emulation import Emulator
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


def missing_packages(
    has: Callable[[str], bool], keyring: bool, emulated: bool = True
) -> tuple[str, ...]:
    """Packages to install, given what is there: programs, keyring, the emulator. Pure."""
    wanted = {package for program, package in PACKAGES.items() if not has(program)}
    if not keyring:
        wanted.add("debian-archive-keyring")
    if not emulated:
        wanted.add(emulation.PACKAGE)
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


async def install(
    shell: Shell,
    emulators: Collection[Emulator],
    progress: Callable[[str], None],
    *,
    allowed: bool = True,
) -> None:
    """Install what is missing, when it is `allowed`; raises OakError naming the packages.

    They stay when the lab goes: other labs use them.
    """
    packages = _missing(emulators)
    if not packages:
        return
    hint = f"apt-get install {' '.join(packages)}"
    if not allowed or not _has("apt-get"):
        why = "" if _has("apt-get") else " and has no apt-get"
        raise OakError(f"this machine lacks {' '.join(packages)}{why}", hint=hint)
    progress(f"installing Debian packages that the lab needs: {' '.join(packages)}")
    apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    earlier: tuple[str, ...] = ()
    try:
        await shell.run((*apt, "update"), timeout_s=INSTALL_S, more=quiet)
    except OakError as error:
        # A list of somebody else's that can't be had fails it: the packages may be there.
        progress(error.message)
        earlier = error.details
    try:
        await shell.run(
            (*apt, "install", "--yes", "--no-install-recommends", *packages),
            timeout_s=INSTALL_S,
            more=quiet,
        )
    except OakError as error:
        details = (*earlier, *error.details)
        raise OakError(error.message, hint=hint, details=details) from error
    if left := _missing(emulators):
        raise OakError(f"{' '.join(left)} did not bring what the lab needs", hint=hint)


def _missing(emulators: Collection[Emulator]) -> tuple[str, ...]:
    emulated = all(emulation.interpreter(each) is not None for each in emulators)
    return missing_packages(_has, KEYRING.exists(), emulated)


def _has(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None
