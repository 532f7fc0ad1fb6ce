"""A descriptor that is being written: its file, and what is known of it.

Belongs here: reading and saving the file, checking the text, asking where it would go, applying
it. Does not belong here: the screen (`screens.editor`), the rules (`oakctl.sla`).
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from oakctl import sla
from oakctl.client import deploying
from oakctl.client.root import RootClient
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import ApplyResult, Finding, Preview
from oakctl.remote import resources

Connect = Callable[[], AbstractAsyncContextManager[RootClient]]
LARGEST = 1 << 20  # bytes; a descriptor has a few thousand


@dataclass(frozen=True)
class Draft:
    """A descriptor's text, and where it was read from or goes to."""

    file: Path
    text: str
    saved: str | None = None  # what is in the file; None: there is none yet
    example: str = ""  # what a new file began with

    @property
    def is_saved(self) -> bool:
        """Whether the file has the text."""
        return self.saved == self.text

    @property
    def is_loss(self) -> bool:
        """Whether something that was written would be lost now."""
        return not self.is_saved and self.text != self.example

    def findings(self) -> tuple[Finding, ...]:
        """Faults and warnings, faults first."""
        found = sla.parse(self.text).findings
        return tuple(sorted(found, key=lambda finding: finding.severity != "error"))

    def is_accepted(self) -> bool:
        """Whether there is no fault."""
        return sla.parse(self.text).ok


def opened(name: str) -> Draft:
    """The file's text; for a new file, the example's. Raises OakError, UsageError."""
    if not name.strip():
        raise UsageError("a descriptor has to have a file name", hint=":edit FILE")
    file = Path(name).expanduser()
    try:
        if file.exists() and file.stat().st_size > LARGEST:
            raise OakError(f"{file} has more than {LARGEST >> 20} MiB: it is no descriptor")
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if not file.absolute().parent.is_dir():
            raise NotFound(
                f"there is no directory {file.absolute().parent}", hint="make it first"
            ) from None
        example = _example()
        return Draft(file, example, example=example)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "") or "it is not UTF-8 text"
        raise OakError(f"{file} cannot be read: {reason}") from error
    return Draft(file, text, text)


def save(draft: Draft) -> Draft:
    """Write the file, whole or not at all; raises OakError."""
    file = draft.file.absolute()
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as new:
            new.write(draft.text)
        written = Path(new.name)
        written.chmod(mode)
        written.replace(file.resolve())
    except OSError as error:
        raise OakError(f"{file} cannot be written: {error.strerror}") from error
    return replace(draft, saved=draft.text)


async def previewed(connect: Connect, text: str) -> Preview:
    """Where its services would go now; raises OakError."""
    async with connect() as root:
        return await root.preview(ApplyRequest(text))


async def applied(connect: Connect, draft: Draft, told: Callable[[str], None]) -> ApplyResult:
    """Send what it refers to, and apply it; raises OakError, whole or not at all."""
    checked = sla.parse(draft.text)
    checked.require(str(draft.file))
    base = (await asyncio.to_thread(draft.file.resolve)).parent
    async with connect() as root:
        artifacts = await deploying.uploaded(root, checked, base, told)
        return await root.apply(ApplyRequest(draft.text, artifacts))


def _example() -> str:
    """The smallest application, which runs from wherever its descriptor lies."""
    folder = resources.data("examples")
    whole = (folder / "hello.yaml").read_text(encoding="utf-8")
    text = whole[whole.index("sla_version") :]  # what is above says how to apply that file
    return text.replace("./hello", json.dumps(str(folder / "hello")), 1)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
