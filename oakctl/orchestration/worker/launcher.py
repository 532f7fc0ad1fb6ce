"""Becomes the instance: `python3 -I -S launcher.py ATTEMPT_DIR`, started by the shim; or becomes
another program beside it: `launcher.py ORDER ERRORS`, two descriptors, for one session.

Belongs here: what has to happen in the new process itself, right before the program takes its
place. Imports the standard library alone, because it is run as a file of its own, outside the
archive. Who it is gets written down before the program runs, while the shim's lock is still
held by this process: a new agent therefore sees either the lock or the identity.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCK_DESCRIPTOR = 9
CANNOT_RUN, NOT_FOUND = 126, 127
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAPABILITIES_V3 = 0x20080522
CAP_NET_BIND_SERVICE = 10
CLONE_NEWNET = 0x40000000


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


def become(user: int, low_ports: bool) -> None:
    """Be this user and this group alone, for good: no set-uid program leads back.

    With `low_ports` one right of the superuser's stays: to listen on ports below 1024.
    """
    import ctypes  # by root's instances alone: it costs every start a few milliseconds

    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)

    os.setgroups([])
    os.setresgid(user, user, user)
    if low_ports:
        check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "(keeping a capability)")
    os.setresuid(user, user, user)
    if low_ports:
        only = 1 << CAP_NET_BIND_SERVICE
        capabilities = struct.pack("6I", only, only, only, 0, 0, 0)
        check(libc.capset(struct.pack("Ii", CAPABILITIES_V3, 0), capabilities), "(capset)")
        raised = (PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0)
        check(libc.prctl(*raised), "(ports below 1024)")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "(no_new_privs)")


def into_network(namespace: str) -> None:
    """Have the network of this namespace and no other from now on."""
    import ctypes  # by instances with a namespace alone

    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
    finally:
        os.close(descriptor)


def launch(directory: Path) -> None:
    """Replace this process by the program; returns only by an exception."""
    order = json.loads((directory / "launch.json").read_text())
    enter(order)
    if order.get("secrets"):  # in memory, and readable only until another user is become
        order["environment"] |= json.loads(Path(order["secrets"]).read_text())["environment"]
    overwrite(directory / "process", json.dumps(identity()))
    os.set_inheritable(LOCK_DESCRIPTOR, False)
    if order.get("user") is not None:
        become(order["user"], order["low_ports"])
    replace(order)


def enter(order: dict[str, Any]) -> None:
    """A session of our own, the instance's groups and network, signals as programs expect them."""
    os.setsid()
    for procs in order["cgroups"]:
        Path(procs).write_text("0")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if order.get("namespace"):
        into_network(order["namespace"])


def replace(order: dict[str, Any]) -> None:
    """Become the program; returns only by an exception."""
    os.chdir(order["directory"])
    program, *_ = order["argv"]
    os.execvpe(program, order["argv"], order["environment"])  # noqa: S606


def beside(orders: int, errors: int) -> int:
    """Become a program beside the instance, which ends with the agent that started us.

    Returns an exit code where it could not be started; why is written to `errors`.
    """
    import ctypes  # as in `become`

    os.set_inheritable(errors, False)
    parent = os.getppid()
    try:
        with os.fdopen(orders) as stream:
            order = json.load(stream)
        program = _program(order.get("source", ""))
        enter(order)
        if order["tty"]:
            import fcntl
            import termios

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if order.get("user") is not None:
            become(order["user"], order["low_ports"])
        # Only now: another user's process would have lost it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent and program is not None:
            os.chdir(order["directory"])
            return int(program(order["argv"]))
        if os.getppid() == parent:
            replace(order)
    except (OSError, ValueError, KeyError) as error:
        missing = isinstance(error, FileNotFoundError)
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else repr(error)
        os.write(errors, f"cannot run {words}".encode()[:400])
        return NOT_FOUND if missing else CANNOT_RUN
    return CANNOT_RUN


def _program(source: str) -> Callable[[list[str]], int] | None:
    """The `main` of a text of ours, with all that it imports: later we may not read it."""
    if not source:
        return None
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, "<program>", "exec", dont_inherit=True), names)  # noqa: S102
    main: Callable[[list[str]], int] = names["main"]
    return main


def main(directory: Path) -> int:
    """Returns an exit code where the program could not be started; `error` says why."""
    errors = os.open(directory / "error", os.O_WRONLY)  # another user could not open it later
    try:
        launch(directory)
    except (OSError, ValueError, KeyError) as error:
        text = (
            f"cannot run {error.filename}: {error.strerror}"
            if isinstance(error, OSError)
            else repr(error)
        )
        os.pwrite(errors, text[:400].encode(), 0)
    return CANNOT_RUN


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.exit(beside(int(sys.argv[1]), int(sys.argv[2])))
    sys.exit(main(Path(sys.argv[1])))
