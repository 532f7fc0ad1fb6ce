"""Finding nats-server: the installed one is verified, an unknown architecture is refused."""

from __future__ import annotations

import platform
import subprocess

import pytest

from oakctl.errors import OakError
from oakctl.remote import natsbin


def test_the_installed_one_is_the_pinned_version() -> None:
    program = natsbin.locate(platform.machine())
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nats-server: v2.15.1")


def test_no_build_for_an_architecture() -> None:
    with pytest.raises(OakError, match="riscv64") as refused:
        natsbin.locate("riscv64")
    assert "aarch64" in refused.value.hint
