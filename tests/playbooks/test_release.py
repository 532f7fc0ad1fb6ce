"""A newer node archive on a real host: put in force, taken back, and the older ones gone."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from oakctl.errors import NotFound
from oakctl.remote import bootstrap, bundle, connection, release
from oakctl.remote.step import Remote
from tests.playbooks.conftest import Host

pytestmark = pytest.mark.slow

T = TypeVar("T")


def another(word: str) -> tuple[str, bytes]:
    """A node archive that does the same and is another one; its version."""
    content = io.BytesIO(bundle.build().read_bytes())
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("oakctl/word.py", f"WORD = {word!r}\n")
    return bundle.version(content.getvalue()), content.getvalue()


async def on(host: Host, work: Callable[[Remote], T]) -> T:
    def call() -> T:
        with connection.open_fabric(host.target) as remote:
            return work(remote)

    return await asyncio.to_thread(call)


def releases(host: Host) -> set[str]:
    return {path.name for path in (host.prefix / "releases").iterdir()}


async def test_there_and_back(host: Host) -> None:
    await host.cluster()
    pids = await host.pids()
    old = await on(host, release.in_force)
    assert await on(host, release.previous) == ""
    with pytest.raises(NotFound, match="no release to go back to"):
        await on(host, lambda remote: release.roll_back(remote, old))

    version, content = another("newer")
    told: list[tuple[int, int]] = []
    with pytest.raises(NotFound, match=f"release {version} is not there"):
        await on(host, lambda remote: release.switch(remote, version))
    await on(
        host, lambda r: release.install(r, version, content, lambda *bytes_: told.append(bytes_))
    )
    assert told[-1] == (len(content), len(content))
    assert await on(host, release.in_force) == old
    for _ in range(2):  # twice is fine
        assert await on(host, lambda remote: release.switch(remote, version)) == old
        assert await on(host, release.previous) == old
    assert await host.pids() == pids, "what runs goes on"

    assert await on(host, release.units) == ("orchestrator",)
    await on(host, lambda remote: release.restart(remote, release.units(remote)))
    newer = await host.pids()
    assert newer["orchestrator"] != pids["orchestrator"]
    assert newer["bus"] == pids["bus"]
    assert version in Path(f"/proc/{newer['orchestrator']}/environ").read_text()

    await host._call(bootstrap.roll_back, "cluster", version)
    assert host.done() == [
        "rollback: switch to the release before",
        "cluster: start the orchestrator",
    ]
    assert await on(host, release.in_force) == old
    await host._call(bootstrap.roll_back, "cluster", version)
    assert host.done() == [], "twice is fine"
    await host.cluster()
    assert host.done() == [], "a host that went back is as the older plan wants it"
    assert await on(host, release.previous) == version


async def test_the_one_before_stays_and_older_ones_go(host: Host) -> None:
    await host.cluster()
    first = await on(host, release.in_force)
    second, third = another("second"), another("third")
    for version, content in (second, third):

        def upgrade(remote: Remote, version: str = version, content: bytes = content) -> None:
            release.install(remote, version, content)
            release.switch(remote, version)
            release.prune(remote)

        await on(host, upgrade)
    assert releases(host) == {second[0], third[0]}

    await host.cluster()  # a plan of the first one
    assert host.done()[-1] == "base: switch to it", "nothing was started anew in between"
    assert releases(host) == {third[0], first}

    await host.remove("cluster")
    assert not host.prefix.exists()
