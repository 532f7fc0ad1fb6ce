"""The shim of an instance: a shell that outlives the agent and keeps the exit code.

Belongs here: starting it, and reading what it and the launcher left behind. Does not belong
here: when to start (`reconcile`) or what (`launch`).

An attempt to start has a directory of its own below `run/`:

    run/lock                held (flock) by the shim for its life, by the launcher until it execs
    run/<attempt>/launch.json   what to run
    run/<attempt>/process       who runs; blank until the launcher has written it
    run/<attempt>/exit          exit code; blank until the shim has written it
    run/<attempt>/error         why the launcher could not run the program

The agent may be killed anywhere. Afterwards: the lock is held, so a shim is at work and must
not be doubled; or it is free, and then the files are final: nobody will write or exec again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pkgutil
import shutil
import sys
from pathlib import Path
from typing import Any

from oakctl.orchestration.worker import procfs, storage
from oakctl.orchestration.worker.attempt import Attempt, Identity
from oakctl.orchestration.worker.launch import LAB_MARKS
from oakctl.orchestration.worker.launcher import CANNOT_RUN, LOCK_DESCRIPTOR

SHELL = "/bin/sh"
# $1 attempt directory, $2 interpreter, $3 launcher. Only SIGKILL ends it. The exit code goes
# into space that is already there (1<> does not truncate): a full disk cannot lose it.
SHIM = """cd /
trap '' HUP INT QUIT TERM
"$2" -I -S "$3" "$1" &
wait $!
printf '%-8s' $? 1<>"$1/exit"
"""
BLANK = b" " * 512


def scripts(directory: Path) -> dict[str, str]:
    """`launcher` and `unpack` as files in `directory`; they lie in a zip otherwise."""
    paths = {}
    for name in ("launcher", "unpack"):
        source = pkgutil.get_data("oakctl.orchestration.worker", f"{name}.py")
        if source is None:
            raise FileNotFoundError(f"{name}.py is not in this archive")
        storage.replace_file(directory / f"{name}.py", source)
        paths[name] = str(directory / f"{name}.py")
    return paths


def start(run: Path, attempt: int, order: dict[str, Any], launcher: str, log: Path) -> int:
    """Start the shim of `attempt`; returns its process id, which is a child to be reaped.

    `order` has argv, environment, directory and cgroups. Raises BlockingIOError when a shim
    of this instance is at work, OSError when files cannot be written.
    """
    directory = run / str(attempt)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("process", "exit", "error"):
            storage.replace_file(directory / name, BLANK)
        storage.replace_file(directory / "launch.json", json.dumps(order).encode())
        return _spawn(str(directory), launcher, lock, log)
    finally:
        os.close(lock)


def _spawn(directory: str, launcher: str, lock: int, log: Path) -> int:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_DUP2, lock, LOCK_DESCRIPTOR),
    ]
    argv = [SHELL, "-c", SHIM, "oakctl-shim", directory, sys.executable, launcher]
    return os.posix_spawn(SHELL, argv, _shim_environment(), file_actions=actions, setsid=True)


def _shim_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", *LAB_MARKS) if name in os.environ}


def read(run: Path, attempt: int, boot: str) -> Attempt:
    """What became of `attempt`. `boot` is this machine's boot id."""
    held = _held(run / "lock")  # first: when it is free, the files below are final
    directory = run / str(attempt)
    identity = _identity(directory / "process")
    lives = (
        identity is not None
        and identity.boot == boot
        and procfs.lives(identity.pid, identity.start)
    )
    return Attempt(
        held=held,
        process=identity,
        lives=lives,
        exit_code=_exit_code(directory / "exit"),
        error=_text(directory / "error"),
    )


def forget_before(run: Path, attempt: int) -> None:
    """Remove what earlier attempts left."""
    for directory in run.glob("[0-9]*"):
        if directory.name.isdigit() and int(directory.name) < attempt:
            shutil.rmtree(directory, ignore_errors=True)


def failed_to_run(found: Attempt) -> bool:
    """Whether the program could not be started at all."""
    return found.exit_code == CANNOT_RUN and bool(found.error)


def _held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _exit_code(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _identity(path: Path) -> Identity | None:
    text = _text(path)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        data = json.loads(text)
        return Identity(int(data["pid"]), int(data["start"]), data["boot"], int(data["shim"]))
    return None
