"""A lab of its own for each test that asks for one, in a state directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.lab import loopback, processes
from oakctl.lab.loopback import Lab, LabHost
from oakctl.model.resources import Location
from oakctl.model.views import HostView

HOSTS = (LabHost("h1", 2, 512, 1, Location(48.1, 11.5)), LabHost("h2"))

Connect = Callable[[HostView], "asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
async def lab(state: Path) -> AsyncIterator[Lab]:
    """A lab of two hosts; whatever the test did to it, nothing is left."""
    try:
        made = await loopback.up("t", HOSTS)
        yield made
    finally:
        await loopback.down("t")
    assert processes.of_lab(made.id) == []


def connect(host: HostView, **options: object):  # type: ignore[no-untyped-def]
    """A real client, which trusts what the lab wrote into our known_hosts and nothing else."""
    return asyncssh.connect(
        host.address,
        host.port,
        username=options.pop("username", host.user),
        client_keys=options.pop("client_keys", [host.identity_file]),
        known_hosts=str(paths.known_hosts()),
        agent_path=None,
        config=None,
        **options,
    )
