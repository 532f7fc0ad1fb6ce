"""A host with an old Python becomes a worker: one that is new enough is pushed to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import standalone_python
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS

pytestmark = [
    *MARKS,
    pytest.mark.skipif(bool(standalone_python.why_not()), reason=standalone_python.why_not()),
]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PUSHED = "/opt/oakctl/python/"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return standalone_python.build(tmp_path)


def commands(host: Host) -> list[tuple[int, str]]:
    """User and command line of everything on the host that runs by a Python of ours."""
    found = []
    for process in host.processes():
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            user = process.stat().st_uid
        except OSError:  # it ended meanwhile
            continue
        if line.startswith(PUSHED):
            found.append((user, line))
    return found


def findings(operator: Operator, host: Host) -> list[tuple[str, str]]:
    """What is said of the host's Python."""
    done = operator.run("host", "check", host.name, "--accept-new", "-o", "json", check=False)
    found = json.loads(done.stdout)
    return [(each["severity"], each["message"]) for each in found if each["topic"] == "python"]


def application(folder: Path, version: str) -> Path:
    """The smallest example, for this Python alone."""
    shutil.copytree(EXAMPLES / "hello", folder / "hello")
    shutil.copy(EXAMPLES / "hello.yaml", folder)
    described = folder / "hello/oakctl-artifact.toml"
    described.write_text(f'python = "{version}"\n{described.read_text()}')
    return folder / "hello.yaml"


def test_a_host_with_python_3_9(
    hosts: FleetHosts, operator: Operator, archive: Path, tmp_path: Path
) -> None:
    bare = hosts.bare("orch", "w-bullseye")
    old = bare["w-bullseye"]
    for host in bare.values():
        operator.knows(host)
    operator.run("cluster", "create", "edge", "--on", "orch", "--accept-new")

    # Without an archive it is refused, with what to do, and nothing is done to it.
    (told,) = findings(operator, old)
    assert told[0] == "block"
    assert "3.9" in told[1]
    add = ("worker", "add", "w1", "--cluster", "edge", "--on", old.name, "--accept-new")
    refused = operator.run(*add, check=False)
    assert refused.returncode == 1
    assert "too old" in refused.stderr
    assert "oakctl host python add" in refused.stderr
    assert not (old.disk / "opt/oakctl").exists()

    # With one it is said beforehand, and done.
    operator.run("host", "python", "add", str(archive))
    (told,) = findings(operator, old)
    assert told[0] == "note"
    assert "is pushed" in told[1]
    operator.run(*add, "--python-archive", str(archive))
    assert [user for user, line in commands(old) if "oakctl-node.pyz worker" in line] == [0]
    version = operator.json("worker", "show", "edge/w1")["summary"]["facts"]["python"]
    short = ".".join(version.split(".")[:2])

    # What it runs runs by that Python too.
    file = application(tmp_path, short)
    operator.run("app", "apply", "-f", str(file), "--wait")
    (user,) = [user for user, line in commands(old) if "hello.py" in line]
    assert user != 0, "an instance is a user of its own, and may run by this Python"
    operator.run("app", "delete", "hello.demo", "--yes")

    # It goes with the rest, even when the archive is not here any more.
    for each in operator.json("host", "python", "ls"):
        operator.run("host", "python", "remove", each["sha256"])
    operator.run("worker", "remove", "edge/w1", "--yes")
    assert not (old.disk / "opt/oakctl").exists()
    assert commands(old) == []
    operator.run("cluster", "remove", "edge", "--yes")
