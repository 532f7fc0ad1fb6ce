"""The two documents in force, also while the bus is away: in memory and on disk.

Belongs here: which document counts. Does not belong here: asking for them (`link`), or acting
on them (`agent`). The store belongs to one worker of one cluster; another's file is no news.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from oakctl.model import wire
from oakctl.model.documents import DesiredDocument, TablesDocument
from oakctl.orchestration.worker import storage

log = logging.getLogger("oakctl.worker.documents")

Document = TypeVar("Document", DesiredDocument, TablesDocument)


class Documents:
    """What `worker` was told last, stored below `directory`."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._worker = worker
        self._desired_path = directory / "desired.json"
        self._tables_path = directory / "tables.json"
        self.desired = self._read(self._desired_path, DesiredDocument)
        self.tables = self._read(self._tables_path, TablesDocument)

    @property
    def desired_revision(self) -> int:
        """-1: none yet."""
        return self.desired.revision if self.desired else -1

    @property
    def tables_revision(self) -> int:
        """-1: none yet."""
        return self.tables.revision if self.tables else -1

    def subnet(self) -> str:
        """The worker's own; empty while nobody has said it."""
        return self.desired.subnet if self.desired else ""

    def take_desired(self, document: DesiredDocument) -> bool:
        """Put it in force unless it is late; whether it is news."""
        if not self._is_news(document, self.desired):
            return False
        self.desired = document
        _store(self._desired_path, document)
        return True

    def take_tables(self, document: TablesDocument) -> bool:
        """Put it in force unless it is late; whether it is news."""
        if not self._is_news(document, self.tables):
            return False
        self.tables = document
        _store(self._tables_path, document)
        return True

    def _is_news(self, document: Document, current: Document | None) -> bool:
        mine = document.worker == self._worker
        return mine and (current is None or document.revision > current.revision)

    def _read(self, path: Path, kind: type[Document]) -> Document | None:
        found = storage.read_message(path, kind)
        return found if found is not None and found.worker == self._worker else None


def _store(path: Path, document: DesiredDocument | TablesDocument) -> None:
    try:
        storage.replace_file(path, wire.encode(document))
    except OSError as error:
        # It is in force all the same; an agent started without the bus would have an older one.
        log.warning("%s: %s", path.name, storage.in_words(error))
