"""The node code as it travels: in an archive, in a bare interpreter."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import attr
import attrs
import cattrs
import nats
import pytest
import typing_extensions

import oakctl

OPERATOR_SIDE = {
    "asyncssh",
    "bcrypt",
    "cryptography",
    "docker",
    "fabric",
    "fastapi",
    "httpx",
    "invoke",
    "numpy",
    "paramiko",
    "pydantic",
    "sqlite_utils",
    "starlette",
    "textual",
    "typer",
    "uvicorn",
    "websockets",
    "yaml",
}
MAIN = "import sys\nfrom oakctl.node.__main__ import main\nsys.exit(main())\n"


def _library(directory: Path) -> Path:
    """A directory with what the archive carries, and nothing else."""
    directory.mkdir()
    for package in (oakctl, nats, cattrs, attr, attrs):
        source = Path(package.__file__ or "").parent
        _copy(source, directory)
    module = Path(typing_extensions.__file__)
    shutil.copy(module, directory)
    if sys.version_info < (3, 11):
        import exceptiongroup

        _copy(Path(exceptiongroup.__file__ or "").parent, directory)
    (directory / "__main__.py").write_text(MAIN)
    return directory


def _copy(source: Path, directory: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, directory / source.name, ignore=ignore)


def _bare(library: Path, code: str) -> str:
    prologue = f"import sys; sys.path.insert(0, {str(library)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", prologue + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module", ["oakctl.orchestration.worker.process", "oakctl.node.unit", "oakctl.node.__main__"]
)
def test_bare_interpreter_needs_no_operator_side_library(tmp_path: Path, module: str) -> None:
    code = f"import json, {module}\nprint(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(_bare(_library(tmp_path / "l"), code))}
    assert "oakctl" in loaded
    assert not loaded & OPERATOR_SIDE


def test_entry_point_imports_no_process(tmp_path: Path) -> None:
    code = "import json, oakctl.node.__main__\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(_bare(_library(tmp_path / "l"), code))
    assert "asyncio" not in loaded
    assert "nats" not in loaded


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive in a release directory of its own."""
    target = tmp_path / "release" / "oakctl-node.pyz"
    target.parent.mkdir()
    zipapp.create_archive(_library(tmp_path / "l"), target)
    return target


def _run(archive: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(archive), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_version(archive: Path) -> None:
    done = _run(archive, "version")
    assert (done.returncode, done.stdout) == (0, f"{oakctl.__version__}\n")
    assert list(archive.parent.iterdir()) == [archive]
