"""The cluster operator's rules for roots: `etc/admission.conf` on his own host, read as it changes.

Belongs here: noticing a change, and what holds while the file is broken. Does not belong here: its
form (`scheduling.admission.read`), or what the rules come to (`admission`).
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from oakctl.orchestration.cluster.admission import Policy
from oakctl.orchestration.scheduling import admission as rules_of

log = logging.getLogger("oakctl.cluster.admission")

LONGEST = 1024 * 1024  # bytes

Stamp = tuple[int, int, int]  # modified (ns), size, inode


class AdmissionFile:
    """`policy()` is what holds now; without a file nothing is restricted by it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._stamp: Stamp | None = None
        self._digest = b""
        self._policy = Policy()

    def policy(self) -> Policy:
        """The rules of the file as it is; a file that can't be read has a fault in words."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return self._policy
            with self._path.open("rb") as file:
                body = file.read(LONGEST + 1)
        except FileNotFoundError:
            self._stamp, self._digest, self._policy = None, b"", Policy()
            return self._policy
        except OSError as error:
            self._stamp = None
            return Policy(fault=f"{self._path} can't be read: {error.strerror}")
        digest = hashlib.sha256(body).digest()
        if self._stamp is None or digest != self._digest:
            self._policy = self._read(body)
            log.info("admission: %s", self._policy.fault or f"rules for {_names(self._policy)}")
        self._stamp, self._digest = stamp, digest
        return self._policy

    def _read(self, body: bytes) -> Policy:
        if len(body) > LONGEST:
            return Policy(fault=f"{self._path} is longer than {LONGEST} bytes")
        try:
            return Policy(rules_of.read(body.decode()))
        except (rules_of.BadRules, UnicodeDecodeError) as error:
            return Policy(fault=f"{self._path} is not understood: {error}")


def _names(policy: Policy) -> str:
    return ", ".join(sorted(policy.rules)) or "nobody"
