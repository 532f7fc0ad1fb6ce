"""Taking things away from a host that is not as it was left: told, and no hindrance."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.remote import changes, playbook
from tests.remote.here import Here


@pytest.fixture
def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    made.put(made.layout.manifest, b'{"roles": {}}')
    return made


def test_a_playbook_that_was_deleted_keeps_nothing_from_going(here: Here) -> None:
    changes.record(here, "mine", {"file": "/etc/motd", "before": "welcome\x1b[2J"})
    step = playbook.load("uninstall").put_back()
    assert step.check(here) == "changed by mine"
    told = step.apply(here)
    assert told.startswith("mine: kept, as that playbook is not here any more; it had noted ")
    assert "/etc/motd" in told
    assert "\x1b" not in told
    assert step.check(here) == ""


def test_faults_end_with_the_first_role_that_goes(here: Here) -> None:
    chaos = here.prefix / "chaos"
    for name, undo in (("slow", f"rm -r '{chaos}/slow'"), ("isolate", "false")):
        (chaos / name).mkdir(parents=True)
        (chaos / name / "undo").write_text(undo)
    step = playbook.load("uninstall").faults()
    assert step.check(here) == "isolate, slow in force"
    assert step.apply(here) == "does not end: isolate in force"
    assert step.check(here) == ""


PYTHON = """#!/bin/sh
[ "$2" = -c ] || echo "$@" >>$(dirname "$0")/said
"""


def python(file: Path, script: str = PYTHON) -> Path:
    file.parent.mkdir(parents=True)
    file.write_text(script)
    file.chmod(0o755)
    return file.parent / "said"


@pytest.mark.parametrize("linked", [True, False], ids=["in use", "not linked yet"])
def test_instances_are_ended_by_what_is_there(here: Here, linked: bool) -> None:
    """Not by the Python and the release that a set-up would put there today."""
    said = python(here.prefix / "python/abc/bin/python3")
    archive = here.prefix / "releases/one/oakctl-node.pyz"
    archive.parent.mkdir(parents=True)
    archive.touch()
    (here.prefix / "instances/web-1").mkdir(parents=True)
    if linked:
        (here.prefix / "python/current").symlink_to("abc")
        (here.prefix / "current").symlink_to("releases/one")
        archive = here.prefix / "current/oakctl-node.pyz"
    step = playbook.load("uninstall").end_instances()
    assert step.check(here) == "1 left"
    step.apply(here)
    assert said.read_text() == f"{archive} clear --prefix {here.prefix}\n"
    assert step.check(here) == ""


def test_without_a_python_that_runs_it_is_said_what_to_type(here: Here) -> None:
    python(here.prefix / "python/abc/bin/python3", "#!/bin/sh\nexit 127\n")
    (here.prefix / "instances/web-1").mkdir(parents=True)
    with pytest.raises(OakError, match="no Python there") as raised:
        playbook.load("uninstall").end_instances().apply(here)
    assert "apt-get install python3" in raised.value.hint
    assert (here.prefix / "instances/web-1").exists()
