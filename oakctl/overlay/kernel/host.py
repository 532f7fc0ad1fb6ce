"""The host's own programs and settings, for the driver.

Belongs here: running `ip`, `ss` and the like with a deadline, reading and writing the kernel's
settings. Does not belong here: what is run (`cables`, `forwarding`).
"""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

DEADLINE_S = 30.0
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_LONGEST = 400  # characters of a program's complaint that are passed on
NAMESPACES = Path("/run/netns")


class Host:
    """This machine, in the network namespace of the calling thread."""

    def run(self, argv: Sequence[str], text: str = "") -> str:
        """What the program prints; `text` is its input. Raises OSError in the program's words."""
        try:
            done = subprocess.run(
                argv,
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=DEADLINE_S,
                env={"PATH": _PATH, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise OSError(errno.ENOENT, f"there is no program {argv[0]}") from error
        except subprocess.TimeoutExpired as late:
            why = f"did not end within {DEADLINE_S:.0f} s"
            raise OSError(errno.ETIMEDOUT, f"{argv[0]}: {why}") from late
        if done.returncode:
            words = " ".join((done.stderr or done.stdout).split())[:_LONGEST]
            raise OSError(errno.EIO, f"{' '.join(argv)}: {words or f'exit {done.returncode}'}")
        return done.stdout

    def ip(self, lines: Iterable[str], namespace: str = "", *, force: bool = False) -> None:
        """Run lines of `ip -batch`, in a named namespace where one is given.

        Raises OSError at the first that fails, unless by `force` the others go on.
        """
        batch = "".join(f"{line}\n" for line in lines)
        if not batch:
            return
        within = ("-netns", namespace) if namespace else ()
        try:
            self.run(("ip", *within, *(("-force",) if force else ()), "-batch", "-"), batch)
        except OSError:
            if not force:
                raise

    def links(self) -> frozenset[str]:
        """The names of this host's interfaces."""
        # By a socket, which is of the thread's namespace, and not by /sys, which is a mount's.
        return frozenset(name for _, name in socket.if_nameindex())

    def namespaces(self) -> frozenset[str]:
        """The names of network namespaces that are there."""
        if not NAMESPACES.is_dir():
            return frozenset()
        mounts = Path("/proc/self/mountinfo").read_text()
        return frozenset(
            path.name for path in NAMESPACES.iterdir() if f" {NAMESPACES}/{path.name} " in mounts
        )

    def is_of(self, namespace: str, pid: int) -> bool:
        """Whether the namespace of this name is the one that a process is in."""
        try:
            return (NAMESPACES / namespace).samefile(f"/proc/{pid}/ns/net")
        except OSError:
            return False

    def has_own_network(self, pid: int) -> bool:
        """Whether a process is in this host's own network namespace. Raises OSError."""
        return Path(f"/proc/{pid}/ns/net").samefile("/proc/thread-self/ns/net")

    def let_ping(self, namespace: str) -> None:
        """Let programs without rights send echoes there, as systems do in their own network.

        Raises OSError.
        """
        # In a user namespace a range has to end with a group that is there; all there are root.
        setting = "/proc/sys/net/ipv4/ping_group_range"
        script = f"echo 0 2147483647 >{setting} 2>&- || echo 0 0 >{setting}"
        self.run(("ip", "netns", "exec", namespace, "sh", "-c", script))

    def setting(self, name: str) -> str:
        """A setting of the kernel by its path below /proc/sys: "net/ipv4/ip_forward"."""
        return Path("/proc/sys", name).read_text().strip()

    def set(self, name: str, value: str) -> None:
        """Change a setting of the kernel; raises OSError."""
        Path("/proc/sys", name).write_text(value)
