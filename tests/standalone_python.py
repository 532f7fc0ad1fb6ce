"""Archives of Pythons for tests: a real one of this machine's Debian, and small ones made up."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "standalone-python"
MACHINES = {"x86_64": 62, "aarch64": 183}


def why_not() -> str:
    """Why a real one cannot be made of what is installed here; empty when it can."""
    programs = [path.name for path in Path("/usr/bin").glob("python3.*")]
    found = [name for name in programs if Path(f"/usr/lib/{name}/os.py").is_file()]
    if not found or not Path("/etc/debian_version").exists():
        return "this machine is no Debian with a Python of its own"
    return ""


@cache
def build(folder: Path) -> Path:
    """The standalone form of this machine's own Python; made once for each folder."""
    out = folder / "standalone.tar.gz"
    subprocess.run(
        [sys.executable, str(SCRIPT), "--from", "/", str(out)],
        check=True,
        capture_output=True,
        timeout=240,
    )
    return out


def program(architecture: str = "aarch64", loader: str = "/lib/ld-linux-aarch64.so.1") -> bytes:
    """The head of a 64-bit program, which runs nowhere."""
    name = loader.encode() + b"\0"
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = 1 if loader else 0
    head = struct.pack(
        "<HHIQQQIHHHHHH", 2, MACHINES[architecture], 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1)
    return ident + head + (segment + name if loader else b"")


def made(
    path: Path,
    files: dict[str, bytes],
    links: dict[str, str] | None = None,
    others: tuple[tarfile.TarInfo, ...] = (),
) -> Path:
    """A tar.gz of these files, symbolic links and whatever else."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for member in others:
            archive.addfile(member)
    return path


def foreign(path: Path, version: str = "3.11", **program_of: str) -> Path:
    """An archive for another architecture, in the layout of python-build-standalone."""
    return made(
        path,
        {
            f"python/bin/python{version}": program(**program_of),
            f"python/lib/python{version}/os.py": b"",
        },
        {"python/bin/python3": f"python{version}"},
    )
