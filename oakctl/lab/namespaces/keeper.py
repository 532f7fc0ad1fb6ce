"""The namespaces that a lab is in, and getting into them.

A node is the process that holds its network and mount namespaces open. All of them are children of
the keeper, the first process of a process namespace: when it ends, and it ends with its owner, the
kernel ends everything else. Does not belong here: the lab's network (`lab`).
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.lab.machines.shell import LAST_LINES, PATH

DEADLINE_S = 60.0
READY_S = 60.0
READY = "ready"
# Each node has a /run of its own: names of namespaces and sockets of tunnels lie there.
# What ends in there without anybody that waits for it is forgotten: a host's first process ignores
# SIGCHLD, and the kernel keeps nothing for one that does.
_PREPARE = (
    "mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -p /run/netns /run/wireguard && "
    f"ip link set lo up && echo {READY} && exec env --ignore-signal=CHLD cat"
)


class Node:
    """One set of namespaces, for as long as its process lives.

    `pid` is that process as the caller sees it, `number` as processes of the lab's keeper do.
    """

    def __init__(
        self, holder: subprocess.Popen[bytes], within: tuple[str, ...], pid: int, number: int
    ) -> None:
        self._holder = holder
        self._within = within
        self.pid = pid
        self.number = number

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in here."""
        return [*self._within, *argv]

    def run(self, argv: Sequence[str], text: str = "", *, timeout_s: float = DEADLINE_S) -> str:
        """Standard output of a program that must succeed in here.

        Raises OakError with its last lines, DeadlineExceeded.
        """
        try:
            done = subprocess.run(
                self.argv(argv),
                input=text.encode(),
                capture_output=True,
                timeout=timeout_s,
                env=environment(),
                cwd="/",
            )
        except subprocess.TimeoutExpired as late:
            what = f"`{shlex.join(argv)}` did not end within {timeout_s:.0f} s"
            raise DeadlineExceeded(what) from late
        if done.returncode:
            lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
            raise OakError(
                f"`{shlex.join(argv)}` failed (exit code {done.returncode})",
                details=tuple(lines[-LAST_LINES:]),
            )
        return done.stdout.decode(errors="replace")

    def spawn(
        self, argv: Sequence[str], more: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> subprocess.Popen[bytes]:
        """A program that goes on in here, with pipes for its input and output.

        Killing what is returned kills the program: it is a child of that, which got it in here.
        """
        return subprocess.Popen(
            self.argv(("setpriv", "--pdeathsig", "KILL", *argv)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(more),
            cwd=cwd,
        )

    def end(self) -> None:
        """Let the namespaces go. What still runs in them keeps them, except for a host's."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


class Keeper(Node):
    """The namespace that all nodes of a lab are in.

    `as_user` makes it one of a user who need not be root. Raises OakError where the machine does
    not allow it.
    """

    def __init__(self, *, as_user: bool) -> None:
        user = ("--user", "--map-root-user") if as_user else ()
        command = (
            *("unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child"),
            *("--mount-proc", "--propagation", "private", "sh", "-c", _PREPARE),
        )
        holder = _hold(command)
        pid = _child(holder.pid)  # the first process in there
        self._as_user = ("--user", "--preserve-credentials") if as_user else ()
        super().__init__(holder, self._into(pid), pid, 1)

    def node(self) -> Node:
        """A new node, whose processes are the keeper's."""
        holder = _hold(self.argv((*_UNSHARE, "sh", "-c", _PREPARE)))
        return self._made(holder, _child(holder.pid))

    def host(self, name: str) -> Node:
        """A new node with a name and processes of its own: they end with its first one."""
        own = ("--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        script = f"hostname {shlex.quote(name)} && {_PREPARE}"
        holder = _hold(self.argv((*_UNSHARE, *own, "sh", "-c", script)))
        return self._made(holder, _child(_child(holder.pid)), "--uts")

    def _made(self, holder: subprocess.Popen[bytes], pid: int, *more: str) -> Node:
        number = numbers_of(pid)[len(numbers_of(self.pid)) - 1]
        return Node(holder, self._into(pid, *more), pid, number)

    def _into(self, pid: int, *more: str) -> tuple[str, ...]:
        ways = (*self._as_user, "--net", "--mount", "--pid", *more)
        return ("nsenter", "--target", str(pid), *ways, "--")


_UNSHARE = ("unshare", "--net", "--mount", "--propagation", "private")


def numbers_of(pid: int) -> list[int]:
    """What a process is called in each process namespace that it is in, the outermost first."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return [int(number) for number in line.split()[1:]]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What programs of a lab have in theirs."""
    return {"PATH": PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/"), **dict(more or {})}


def _hold(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a holder; returns when its namespaces are ready, which takes 60 s at most."""
    try:
        holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
        )
    except OSError as error:
        raise OakError(
            f"{command[0]} cannot be run: {error.strerror}", hint="apt-get install util-linux"
        ) from error
    assert holder.stdout is not None
    assert holder.stderr is not None
    said_something, _, _ = select.select((holder.stdout,), (), (), READY_S)
    if not said_something:
        holder.kill()
    if not said_something or holder.stdout.readline().strip() != READY.encode():
        _, said = holder.communicate(timeout=DEADLINE_S)
        raise OakError(
            "this machine does not allow namespaces",
            hint="as root, or on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            details=tuple(said.decode(errors="replace").splitlines()[-LAST_LINES:]),
        )
    holder.stderr.close()
    return holder


def _child(pid: int) -> int:
    """The one child of a process that is there by now."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = Path(entry, "stat").read_text()
            except OSError:
                continue
            # The command's name stands in parentheses and may hold anything: count from its end.
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                return int(entry.name)
    raise OakError(f"process {pid} has no child", hint="try it again")
