"""Whether the kernel overlay can be tried here, and the Debian packages that it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines.shell import PATH
from oakctl.lab.namespaces.keeper import Keeper

PACKAGES = {
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "sysctl": "procps",
    "unshare": "util-linux",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
}
INSTALL_S = 900


@cache
def why_not() -> str:
    """What is missing for the kernel overlay; empty where nothing is. As root it is installed."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = {package for program, package in PACKAGES.items() if not _has(program)}
    if missing and os.geteuid() == 0 and _has("apt-get"):
        _install(sorted(missing))
        missing = {package for program, package in PACKAGES.items() if not _has(program)}
    if missing:
        return f"this machine lacks {', '.join(sorted(missing))}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun for this user"
    try:
        keeper = Keeper(as_user=os.geteuid() != 0)
    except OakError as error:
        return error.message
    try:
        keeper.run(
            ("nft", "-f", "-"), "table ip t { chain c { type nat hook output priority 0; }\n}\n"
        )
    except OakError as error:
        return f"nftables does not work here: {' '.join(error.details)}"
    finally:
        keeper.end()
    return ""


def _has(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


def _install(packages: list[str]) -> None:
    apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
        subprocess.run((*apt, *words), env=quiet, timeout=INSTALL_S, capture_output=True)


REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="package")
def kernel_overlay() -> None:
    """Skips, with the reason, where the kernel overlay cannot be tried."""
    if why := why_not():
        pytest.skip(why)
