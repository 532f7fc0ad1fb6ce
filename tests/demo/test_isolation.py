"""Directories of its own, and one at a time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oakctl import paths
from oakctl.demo import isolation
from oakctl.errors import Conflict


def test_everything_lies_elsewhere_for_a_while() -> None:
    before = paths.state_directory(), paths.cache_directory(), paths.config_directory()
    with isolation.isolated() as logs:
        inside = paths.private_directory(paths.state_directory())
        assert inside.is_relative_to(before[0] / "demo")
        assert paths.config_directory() != before[2]
        assert paths.cache_directory() == before[1]
        assert not logs.is_relative_to(inside)
        isolation.forget()
        assert not inside.exists()
    assert (paths.state_directory(), paths.cache_directory(), paths.config_directory()) == before


def test_a_second_one_is_told_who_is_first() -> None:
    with isolation.isolated():
        script = "from oakctl.demo.isolation import isolated\nwith isolated(): pass"
        other = os.environ | {"XDG_STATE_HOME": str(paths.state_directory().parents[3])}
        second = subprocess.run(
            [sys.executable, "-c", script], env=other, capture_output=True, text=True, check=False
        )
    assert f"a demonstration is running already (pid {os.getpid()})" in second.stderr
    with isolation.isolated():
        pass


def test_a_second_one_in_this_process_is_refused_too() -> None:
    before = os.environ["XDG_STATE_HOME"]
    with isolation.isolated():
        os.environ["XDG_STATE_HOME"], own = before, os.environ["XDG_STATE_HOME"]
        with pytest.raises(Conflict), isolation.isolated():
            pass
        os.environ["XDG_STATE_HOME"] = own
