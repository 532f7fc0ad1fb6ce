"""How long an agent that its cluster refuses waits before it ends, to be started again.

Whoever keeps it running starts it at once, whatever that is (systemd, a lab's keeper): without a
wait a worker that was removed would ask for ever, each second. It is not given up either, as a
cluster may be put right without anybody coming here. Belongs here: counting refusals over starts.
Does not belong here: what a refusal is (`link`).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

FIRST_S, LONGEST_S = 2.0, 300.0
FORGOTTEN_S = 3600.0  # after the last one


def wait_s(times: int) -> float:
    """Before the end that follows refusal number `times` in a row: none after the first one."""
    return min(LONGEST_S, FIRST_S * 2.0 ** min(times - 2, 30)) if times > 1 else 0.0


def count(file: Path) -> int:
    """Note one more refusal in `file`; how many they are in a row."""
    times = 0
    with contextlib.suppress(OSError, ValueError):
        if abs(time.time() - file.stat().st_mtime) < FORGOTTEN_S:
            times = int(file.read_text())
    with contextlib.suppress(OSError):  # a full disk: then it counts as the first
        file.write_text(str(times + 1))
    return times + 1


def forget(file: Path) -> None:
    """The cluster has taken us in."""
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)
