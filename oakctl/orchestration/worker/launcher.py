"""Becomes the instance: `python3 -I -S launcher.py ATTEMPT_DIR`, started by the shim.

Belongs here: what has to happen in the new process itself, right before the program takes its
place. Imports the standard library alone, because it is run as a file of its own, outside the
archive. Who it is gets written down before the program runs, while the shim's lock is still
held by this process: a new agent therefore sees either the lock or the identity.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

LOCK_DESCRIPTOR = 9
CANNOT_RUN = 126


def identity() -> dict[str, Any]:
    """This process, so that nobody can be taken for it; the program keeps all three."""
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": os.getpid(), "start": start, "boot": boot, "shim": os.getppid()}


def overwrite(path: Path, text: str) -> None:
    """Write into the space that the agent reserved: a full disk cannot refuse it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, text.encode(), 0)
    finally:
        os.close(descriptor)


def launch(directory: Path) -> None:
    """Replace this process by the program; returns only by an exception."""
    order = json.loads((directory / "launch.json").read_text())
    os.setsid()
    for procs in order["cgroups"]:
        Path(procs).write_text("0")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(order["directory"])
    overwrite(directory / "process", json.dumps(identity()))
    os.set_inheritable(LOCK_DESCRIPTOR, False)
    program, *_ = order["argv"]
    os.execvpe(program, order["argv"], order["environment"])  # noqa: S606


def main(directory: Path) -> int:
    """Returns an exit code where the program could not be started; `error` says why."""
    try:
        launch(directory)
    except (OSError, ValueError, KeyError) as error:
        text = (
            f"cannot run {error.filename}: {error.strerror}"
            if isinstance(error, OSError)
            else repr(error)
        )
        overwrite(directory / "error", text[:400])
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
