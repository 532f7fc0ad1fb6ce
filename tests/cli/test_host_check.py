"""`oakctl host check` as a user types it, on hosts that answer SSH and on one that does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.servers import Machine, Machines

from .conftest import Oakctl

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()


def add(oakctl: Oakctl, name: str, machine: Machine) -> None:
    target = machine.target()
    where = f"{target.user}@{target.address}:{target.port}"
    assert oakctl("host", "add", name, where, "-i", target.identity_file).code == 0


def test_usable_hosts_end_with_0_and_one_that_blocks_with_1(
    with_root: Oakctl, machines: Machines
) -> None:
    # As a lab's host has it: on this machine somebody else may have the port.
    hub = machines.make(environment={"OAKCTL_HOST_ADDRESS": "127.253.11.1"})
    other = machines.make()
    add(with_root, "hub", hub)
    add(with_root, "pi-1", other)
    unknown = with_root("host", "check")
    assert unknown.code == 1
    assert "--accept-new" in unknown.out

    found = with_root("host", "check", "--accept-new")
    assert found.code == 0, found.out
    assert "hub: usable" in found.out
    assert "pi-1: usable" in found.out

    reach = with_root("host", "check", "pi-1", "--orchestrator", "hub", "-o", "json")
    rows = json.loads(reach.out)
    assert (reach.code, {row["host"] for row in rows}) == (0, {"hub", "pi-1"})
    assert [row["message"] for row in rows if row["topic"] == "reach"] == [
        "it reaches port 4222 of hub"
    ]

    other.stop()
    gone = with_root("host", "check", "-o", "json")
    assert gone.code == 1
    (blocked,) = [row for row in json.loads(gone.out) if row["severity"] == "block"]
    assert (blocked["host"], blocked["topic"]) == ("pi-1", "ssh")
    assert blocked["remedy"]


def test_a_host_that_is_not_known_is_3(with_root: Oakctl) -> None:
    for words in (("nobody",), ("--orchestrator", "nobody")):
        ended = with_root("host", "check", *words)
        assert (ended.code, ended.out) == (3, "")
        assert "hint: oakctl host ls" in ended.err
