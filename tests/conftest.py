"""Every test gets directories of its own: the developer's configuration and state stay out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast inputs are made depends on what else the machine does; nothing here is judged by time.
settings.register_profile("oakctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oakctl")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests stay together where several processes share them (`make test`).

    Labs of real hosts are in one process, since there is memory for one at a time, and they come
    first because they take longest. The others are shared folder by folder: what they start is
    there once for all tests of a folder.
    """
    items.sort(key=lambda item: item.get_closest_marker("machines") is None)
    for item in items:
        real_hosts = item.get_closest_marker("machines") is not None
        name = "machines" if real_hosts else str(item.path.parent)
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(autouse=True)
def own_directories(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """HOME and the XDG directories of this test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable, folder in (
        ("XDG_STATE_HOME", "state"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_CONFIG_HOME", "config"),
    ):
        monkeypatch.setenv(variable, str(home / folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home
