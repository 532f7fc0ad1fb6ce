"""What became of one attempt to start an instance, whichever runtime made it.

Belongs here: the words between runtimes and `instances`. Does not belong here: how a runtime
finds out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """Which process the instance is."""

    pid: int
    start: int = 0  # ticks after boot; 0 where the runtime itself knows whom it means
    boot: str = ""
    shim: int = 0  # the process whose end is the attempt's end; 0: there is none


@dataclass(frozen=True)
class Attempt:
    """What is known of one attempt to start."""

    held: bool  # something is at work on it, or nobody can say now
    process: Identity | None = None
    lives: bool = False  # the instance's own process
    exit_code: int | None = None
    error: str = ""  # why the program could not be run
    refused: str = ""  # why this node could not even try: worth trying again
    words: str = ""  # why it ended, where the runtime knows better than an exit code

    @property
    def over(self) -> bool:
        """Nothing of it runs and nothing more will be written."""
        return not (self.held or self.lives)

    @property
    def never_ran(self) -> bool:
        """The agent died before there was a shim, or the shim before there was a process."""
        return self.over and self.process is None and self.exit_code is None
