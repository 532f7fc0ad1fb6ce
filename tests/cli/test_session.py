"""A root of another version makes room for one of this."""

from __future__ import annotations

from pathlib import Path

import pytest

import oakctl
from oakctl.cli import session
from oakctl.client.process import hosted_root, running_root


async def test_a_root_of_another_version_leaves(
    own_directories: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with hosted_root() as status:
        await session.renew_root()
        assert await running_root() is not None
        monkeypatch.setattr(oakctl, "__version__", "999.0")
        await session.renew_root()
        assert await running_root() is None
        assert f"of version {status.version}: it is started anew" in capsys.readouterr().err
        await session.renew_root()
