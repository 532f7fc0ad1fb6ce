"""The wheel alone, in a new environment, outside the checkout: the demo runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
INSTALL_S = 600
DEMO_S = 300


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_S + DEMO_S)
def test_demo_from_the_wheel(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, CHECKOUT],
        check=True,
        capture_output=True,
        timeout=INSTALL_S,
    )
    (wheel,) = dist.glob("*.whl")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        check=True,
        timeout=INSTALL_S,
    )
    report = tmp_path / "report.json"
    done = subprocess.run(
        [environment / "bin/oakctl", "demo", "--headless", "--report", report],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["ok"]
    assert found["labels_right"] >= 0.95
