"""Looks for secrets everywhere that they must not be: files, databases, journals, processes.

Belongs here: where is looked, and in which writing a secret would be found. Does not belong
here: which secrets there are (the tests).
"""

from __future__ import annotations

import base64
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.fleet_hosts import Host
from tests.lab.operator_tool import Operator

SAMPLE_S = 0.05
MEMORY = ("run", "tmp", "dev/shm")  # of a host: not on its disk


@dataclass(frozen=True)
class Secret:
    """`homes`: the files that may hold it, and nothing else may."""

    name: str
    value: str
    homes: frozenset[Path] = frozenset()

    @property
    def writings(self) -> tuple[bytes, ...]:
        """What is looked for: itself, and as a part of something in base 64."""
        raw = self.value.encode()
        # The first and the last digits depend on what stands beside it.
        shifted = [base64.b64encode(b"\0" * n + raw)[4 * bool(n) : -4] for n in range(3)]
        return (raw, *(writing for writing in shifted if len(writing) >= 8))


Finding = str
Look = Callable[[str, bytes, "Path | None"], Iterator[Finding]]


class Search:
    """Collects where secrets were found."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets = tuple(secrets)
        self.found: set[Finding] = set()

    def look(self, where: str, content: bytes, file: Path | None = None) -> None:
        """Look into one piece of content; `file`: where it comes from, when it is a file."""
        for secret in self._secrets:
            if file not in secret.homes and any(each in content for each in secret.writings):
                self.found.add(f"{secret.name} in {where}")

    def operator(self, operator: Operator) -> None:
        """Files, databases and processes of the operator."""
        for directory in (operator.home, operator.cache):
            self._files("operator", directory)
        for database in operator.home.rglob("*.db"):
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                text = "\n".join(connection.iterdump())
            connection.close()
            self.look(f"operator:{database}, dumped", text.encode())
        self.processes("operator", (Path("/proc") / str(pid) for pid in operator.processes()))

    def host(self, host: Host) -> None:
        """All that a host wrote, what it holds in memory file systems, its journal, processes."""
        self._files(host.name, host.written)
        init = next(entry for entry in host.processes() if _is_init(entry))
        for directory in MEMORY:
            self._files(host.name, init / "root" / directory)
        journal = host.run("journalctl --merge --all --output=export", root=True).stdout
        self.look(f"{host.name}: the journal", journal.encode())
        self.processes(host.name, host.processes())

    def processes(self, whose: str, entries: Iterable[Path]) -> None:
        """Arguments and environments of processes, each a directory of /proc."""
        for entry in entries:
            for part in ("cmdline", "environ"):
                try:
                    content = (entry / part).read_bytes()
                except OSError:  # it ended meanwhile
                    continue
                # Arguments are shown as a whole, so that one sees whose they are.
                command = _command(entry)
                self.look(f"{whose}: {part} of {command}", content)

    def _files(self, whose: str, directory: Path) -> None:
        for file in directory.rglob("*"):
            try:
                if file.is_symlink() or not file.is_file():
                    continue
                content = file.read_bytes()
            except OSError:  # it went away, or is one of the kernel's that can't be read
                continue
            self.look(f"{whose}:{file}", content, file)


@dataclass
class Watch:
    """Looks at processes again and again while something is done, as `ps` in a loop would."""

    search: Search
    operator: Operator
    hosts: tuple[Host, ...]
    rounds: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_S):
            for host in self.hosts:
                self.search.processes(host.name, host.processes())
            operators = (Path("/proc") / str(pid) for pid in self.operator.processes())
            self.search.processes("operator", operators)
            self.rounds += 1


def _is_init(entry: Path) -> bool:
    try:
        status = (entry / "status").read_text()
    except OSError:
        return False
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return len(line.split()) == 3 and line.split()[-1] == "1"


def _command(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().strip()
    except OSError:
        return "a process"
