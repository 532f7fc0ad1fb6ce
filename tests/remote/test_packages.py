"""Packages of a host: nothing asked for is nothing done, and what is not known stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.remote import packages
from oakctl.remote.step import CommandFailed
from tests.remote.here import Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A host on which dpkg-query without a name lists all packages, as the real one does."""
    made = Here(tmp_path)
    made.put_program(
        "dpkg-query",
        'shift 3; [ $# -gt 0 ] || set -- libc6 systemd; for name; do echo "$name installed"; done',
    )
    made.put_program("apt-get", f'echo "$@" >>{tmp_path}/apt; echo "Purg libc6 [1]"')
    return made


def test_no_names_are_no_packages(here: Here, tmp_path: Path) -> None:
    assert packages.installed(here, []) == []
    assert packages.needed(here, []) == []
    assert packages.known(here, []) == []
    packages.purge(here, [])
    assert packages.take_away(here, []) == []
    assert not (tmp_path / "apt").exists()


def test_a_question_without_an_answer_is_not_taken_for_nothing(here: Here) -> None:
    here.put_program("dpkg-query", "echo 'dpkg-query: error: database is locked' >&2; exit 2")
    with pytest.raises(CommandFailed):
        packages.purge(here, ["docker.io"])
    here.put_program("dpkg-query", 'echo "runc config-files"; exit 1')  # it knows one of two
    assert packages.installed(here, ["docker.io", "runc"]) == ["runc"]


def test_nothing_goes_for_what_comes(here: Here) -> None:
    """`apt-get -y install docker.io` would take a docker-ce away."""
    here.put_program("apt-get", 'echo "Remv docker-ce [28]"; echo "Inst docker.io (26)"')
    with pytest.raises(OakError, match="apt would remove docker-ce"):
        packages.install(here, "docker", ["docker.io"])


def test_only_the_superuser_installs(tmp_path: Path) -> None:
    here = Here(tmp_path, as_root=False)
    here.put_program("apt-get", "true")
    with pytest.raises(OakError, match="installed by the superuser") as refused:
        packages.require_apt(here, "WireGuard")
    assert "administrator of pi" in refused.value.hint
    packages.require_apt(Here(tmp_path), "WireGuard")
