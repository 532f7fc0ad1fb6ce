"""The database file, and the one thread that touches it.

Belongs here: opening, migrating and serialising access. Does not belong here: tables.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

from oakctl.errors import OakError
from oakctl.orchestration.root.store.schema import migrations

T = TypeVar("T")

OUT_OF_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # primary codes


class Store:
    """Runs functions on the database, one after the other, each in one transaction.

    When `run` returns, what the function wrote is on disk (WAL, synchronous=FULL); when it
    raises, nothing is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # A sqlite-utils handle belongs to the thread that opened it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: Database | None = None

    async def open(self) -> None:
        """Open and migrate; raises OakError when the file is not usable."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def run(self, work: Callable[[Database], T]) -> T:
        """`work(database)` in a transaction of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        """Finish what was queued and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _open(self) -> None:
        try:
            self._database = open_database(self.path)
        except sqlite3.Error as error:
            raise self._full(error) or OakError(
                f"{self.path}: {error}",
                hint=f"move {self.path} away to begin with an empty root",
            ) from error

    def _run(self, work: Callable[[Database], T]) -> T:
        database = self._database
        assert database is not None, "the store is not open"
        try:
            with database.atomic():
                return work(database)
        except sqlite3.OperationalError as error:
            full = self._full(error)
            if full is None:
                raise
            raise full from error

    def _full(self, error: sqlite3.Error) -> OakError | None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OUT_OF_SPACE:
            return None
        return OakError(
            f"{self.path}: {error}", hint=f"df -h {self.path.parent}; free some, and try again"
        )

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def open_database(path: Path) -> Database:
    """The file at `path` (0600), migrated to this version's tables."""
    path.touch(mode=0o600)
    database = Database(path)
    database.enable_wal()
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA foreign_keys=ON")
    database.execute("PRAGMA busy_timeout=5000")
    migrations.apply(database)
    return database
