"""Instances are users of their own only where there are such users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oakctl.orchestration.worker import identity


@pytest.mark.parametrize(
    ("mapped", "separate"),
    [
        ("         0          0 4294967295\n", True),
        ("         0       1000          1\n", False),
        ("0 1000 1\n1 100000 65536\n", False),
    ],
)
def test_a_namespace_without_the_numbers_has_no_users_for_instances(
    mapped: str, separate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uid_map").write_text(mapped)
    monkeypatch.setattr(identity, "UID_MAP", tmp_path / "uid_map")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert identity.separate_users("kernel") is separate
    assert not identity.separate_users("loopback")
