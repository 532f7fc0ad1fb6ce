"""Whether real hosts can be made here, and how long they may take."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

BOOT_TIMEOUT_S = 1800  # of one test, the building of base images included


@cache
def why_not() -> str:
    """What is missing for machine labs; empty where nothing is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "real hosts need root on Linux"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    try:
        made = subprocess.run(
            ["unshare", "--net", "--mount", "true"], capture_output=True, timeout=60
        )
    except FileNotFoundError:
        return "this machine has no unshare (util-linux)"
    if made.returncode:
        return "this machine allows no namespaces"
    return ""


MARKS = (
    pytest.mark.machines,
    pytest.mark.slow,
    pytest.mark.timeout(BOOT_TIMEOUT_S),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
)
