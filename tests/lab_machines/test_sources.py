"""Where this machine gets Debian from, as labs and the script for a Python find it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines import sources


def test_the_archive_of_this_machine_is_in_the_first_list_that_names_one(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "a.list").write_text("deb https://packages.example/apt cloud main\n")
    (parts / "b.save").write_text("deb http://old.example/debian bookworm main\n")
    (parts / "c.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/somewhere/\nSuites: bookworm\nComponents: main\n"
    )
    assert sources.own_mirror(tmp_path) == "http://mirror.example/somewhere/"
    with pytest.raises(OakError, match="name no Debian archive"):
        sources.own_mirror(parts)


def test_the_script_for_a_python_takes_that_archive_with_no_library_of_ours() -> None:
    """By Python alone: an operator runs it before anything is installed."""
    script = Path(__file__).parents[2] / "scripts" / "standalone-python"
    code = (
        "import importlib.machinery, importlib.util, os, sys\n"
        "sys.path.insert(0, os.path.dirname(sys.argv[1]))\n"  # as where it is run as a program
        "loader = importlib.machinery.SourceFileLoader('script', sys.argv[1])\n"
        "spec = importlib.util.spec_from_loader('script', loader)\n"
        "script = sys.modules['script'] = importlib.util.module_from_spec(spec)\n"
        "loader.exec_module(script)\n"
        "try: print(script.own_mirror())\n"
        "except script.Failed as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    try:
        expected = sources.own_mirror()
    except OakError as error:
        expected = error.message
    assert done.stdout.startswith(expected)
