"""The directory of each instance below the prefix.

    instances/<name>/record.json   what the agent remembers
    instances/<name>/work/         of a process: working directory, HOME and TMPDIR
    instances/<name>/run/          of a process: the shim's files, a directory per attempt
    instances/<name>/log/          its output

Belongs here: paths, and taking them away. Does not belong here: what is in the files.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from oakctl.model.config import HostLayout
from oakctl.orchestration.worker.logs import InstanceLog


class InstanceFiles:
    """Files of all instances below `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._layout = HostLayout(prefix)
        self._logs: dict[str, InstanceLog] = {}

    def directory(self, name: str) -> Path:
        """All that there is of an instance."""
        return Path(self._layout.instance(name))

    def working_directory(self, name: str) -> Path:
        """Where the processes of an instance run."""
        return self.directory(name) / "work"

    def names(self) -> list[str]:
        """Instances with a directory here."""
        root = self.directory("x").parent
        return sorted(path.name for path in root.iterdir()) if root.is_dir() else []

    def log(self, name: str) -> InstanceLog:
        """The instance's log; raises OSError where there can be none."""
        if name not in self._logs:
            self._logs[name] = InstanceLog(self.directory(name) / "log")
        return self._logs[name]

    def wipe(self, name: str) -> None:
        """Remove an incarnation's files, keep its log."""
        for part in ("work", "run"):
            shutil.rmtree(self.directory(name) / part, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove everything; raises OSError when something stays."""
        self._logs.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory(name))
