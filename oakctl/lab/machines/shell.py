"""Running this machine's programs, each with a deadline.

Belongs here: processes that end. Does not belong here: what is run, and hosts, which stay.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.lab.processes import LAB_VARIABLE

# Users who become root by `su` have no sbin in their path.
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
STEP_S = 0.05
SHORT_S = 60.0  # for commands that take milliseconds on an idle machine
LAST_LINES = 12


class Shell:
    """Runs programs for one lab: all of them carry its id, so that `down` finds strays."""

    def __init__(self, lab: str) -> None:
        self.lab = lab

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a program of the lab has in its environment."""
        kept = {key: value for key, value in os.environ.items() if key.endswith(("_proxy", "HOME"))}
        fixed = {"PATH": PATH, "LC_ALL": "C", LAB_VARIABLE: self.lab}
        return kept | fixed | dict(more or {})

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout_s: float = SHORT_S,
        more: Mapping[str, str] | None = None,
    ) -> str:
        """Standard output of a program that must succeed.

        `stdin` is never shown; raises OakError with the last lines when it fails, and
        DeadlineExceeded. A program that is given up is killed with all that it started.
        """
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(more),
            cwd="/",
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(
                process.communicate(stdin.encode() if stdin else None), timeout_s
            )
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"`{shlex.join(argv)}` did not end within {timeout_s:.0f} s", hint="oakctl lab up"
            ) from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            lines = (out + err).decode(errors="replace").splitlines()[-LAST_LINES:]
            raise OakError(
                f"`{shlex.join(argv)}` failed (exit code {process.returncode})",
                details=tuple(lines),
            )
        return out.decode(errors="replace")


def mounts_below(directory: Path) -> list[str]:
    """Mount points at or below `directory`, the innermost first."""
    prefix = str(directory)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # The kernel writes blanks, tabs and backslashes in paths as octal.
        point = line.split()[4].encode().decode("unicode_escape")
        if point == prefix or point.startswith(f"{prefix}/"):
            found.append(point)
    return found[::-1]


async def unmount_below(shell: Shell, directory: Path) -> None:
    """Unmount everything at or below `directory`; raises OakError when something is in use."""
    for point in mounts_below(directory):
        await shell.run(("umount", point))
