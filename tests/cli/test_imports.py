"""What is quick stays quick: heavy libraries are imported by the commands that need them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("textual", "asyncssh", "fabric", "docker", "sqlite_utils", "fastapi", "httpx", "numpy")
SCRIPT = f"""
import contextlib, io, json, sys
from oakctl.__main__ import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    code = main(sys.argv[1:])
print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["version"], 0),
        (["worker", "add", "--help"], 0),
        (["completion", "bash"], 0),
        (["nonsense"], 2),
        (["tui"], 2),
    ],
)
def test_command_imports_nothing_heavy(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == [code, []]
