"""Plain files that a descriptor adds to containers, packed for upload.

Belongs here: a folder, a file or a .tar.gz of `added_files`. Does not belong here: programs,
which say how they are run (`artifact`). The same content gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from pathlib import Path

from oakctl.errors import NotFound, OakError
from oakctl.orchestration.worker.unpack import check_member


def pack(reference: str, base: Path, cache: Path) -> Path:
    """The .tar.gz with what `reference`, relative to `base`, names; raises NotFound or OakError."""
    path = base / Path(reference).expanduser()
    if not path.exists():
        raise NotFound(
            f"the files {reference} are not there: {path}",
            hint="`added_files` are relative to the descriptor's folder",
        )
    if path.name.endswith(".tar.gz"):
        return _checked(path)
    try:
        content = _packed(path)
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = cache / f"files-{hashlib.sha256(content).hexdigest()}.tar.gz"
        if not target.exists():
            temporary = target.with_suffix(f".{os.getpid()}.new")
            temporary.write_bytes(content)
            temporary.replace(target)
    except OSError as error:
        raise OakError(f"{path} cannot be packed into {cache}: {error}") from error
    return target


def _packed(path: Path) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            member = archive.gettarinfo(file, name)
            if member is None:
                raise OakError(
                    f"{file} is neither a file nor a folder", hint="take it out of there"
                )
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = 0
            if member.isreg():
                with file.open("rb") as stream:
                    archive.addfile(member, stream)
            else:
                _safe(path, member)
                archive.addfile(member)
    return gzip.compress(plain.getvalue(), mtime=0)


def _checked(path: Path) -> Path:
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                _safe(path, member)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise OakError(f"{path} is not a readable .tar.gz: {error}") from error
    return path


def _safe(path: Path, member: tarfile.TarInfo) -> None:
    """By the rule that the hosts unpack by: no way out of the folder, no device."""
    try:
        check_member(member)
    except tarfile.TarError as error:
        raise OakError(f"{path} is refused: {error}") from error
