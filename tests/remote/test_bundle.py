"""The node archive: reproducible, runs in a bare interpreter, carries none of our side."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from oakctl import __version__
from oakctl.remote import bundle

OPERATOR_SIDE = {"pydantic", "textual", "typer", "fastapi", "httpx", "asyncssh", "fabric",
                 "paramiko", "sqlite_utils", "cryptography", "bcrypt", "yaml", "numpy",
                 "websockets"}  # fmt: skip


def test_building_twice_gives_the_same_bytes() -> None:
    first = bundle.build().read_bytes()
    for path in bundle.build().parent.glob("*.pyz"):
        path.unlink()
    again = bundle.build()
    assert again.read_bytes() == first
    assert bundle.version(first) in again.name


def test_runs_in_a_bare_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(bundle.build()), "version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == __version__


def test_prefers_what_is_unpacked_beside_it(tmp_path: Path) -> None:
    archive = tmp_path / "oakctl-node.pyz"
    archive.write_bytes(bundle.build().read_bytes())
    zipfile.ZipFile(archive).extractall(tmp_path / "lib")
    (tmp_path / "lib/oakctl/__init__.py").write_text('__version__ = "unpacked"\n')
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(archive), "version"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.strip() == "unpacked"


def test_every_module_imports_alone_and_loads_nothing_of_the_operators_side() -> None:
    script = (
        "import sys, zipimport, zipfile, importlib\n"
        "archive = sys.argv[1]\n"
        "sys.path.insert(0, archive)\n"
        "for name in zipfile.ZipFile(archive).namelist():\n"
        "    if name.startswith('oakctl/') and not name.endswith('__main__.py'):\n"
        "        importlib.import_module(name[:-3].replace('/', '.').removesuffix('.__init__'))\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(bundle.build())],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "nats" in loaded
    assert not loaded & OPERATOR_SIDE
