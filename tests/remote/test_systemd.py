"""Unit files: what they promise, and that systemd itself has nothing against them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.model.config import HostLayout, Unit
from oakctl.remote import systemd

LAYOUT = HostLayout("/opt/oakctl")
AGENT = Unit("agent", ("/usr/bin/python3", '/opt/oakctl/a b%c$d"e', "worker"), {"GOGC": "50"})


def test_the_agent_leaves_its_instances_alone() -> None:
    text = systemd.render(AGENT, LAYOUT, user=False)
    assert "KillMode=process" in text
    assert "Restart=always" in text
    assert "LimitNOFILE=65536" in text
    assert "WantedBy=multi-user.target" in text
    assert "KillMode" not in systemd.render(Unit("bus", ("/b",)), LAYOUT, user=False)
    assert "WantedBy=default.target" in systemd.render(AGENT, LAYOUT, user=True)


def test_words_arrive_as_they_are() -> None:
    line = next(
        line
        for line in systemd.render(AGENT, LAYOUT, user=False).splitlines()
        if line.startswith("ExecStart=")
    )
    assert line == r'ExecStart="/usr/bin/python3" "/opt/oakctl/a b%%c$$d\"e" "worker"'


@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_has_nothing_against_them(tmp_path: Path, user: bool) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = Unit("agent", (sys.executable, "-V"), working_directory="/")
    file = tmp_path / systemd.service("agent")
    file.write_text(systemd.render(unit, LAYOUT, user=user))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "oakctl-agent" not in done.stderr


def test_a_unit_that_nobody_speaks_of_has_no_state() -> None:
    units = ["oakctl-agent.service", "oakctl-bus.service"]
    said = "oakctl-agent.service active\noakctl-bus.service failed\n"
    assert systemd.states("pi", units, said) == {"agent": "running", "bus": "stopped"}
    # A systemd that cannot be reached says so on standard error alone.
    with pytest.raises(OakError, match=r"does not say what oakctl-bus.service does"):
        systemd.states("pi", units, "oakctl-agent.service active\noakctl-bus.service \n")
