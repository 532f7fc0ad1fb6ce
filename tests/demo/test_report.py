"""The report and its verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from oakctl.demo import report
from oakctl.demo.report import Measured, Report, SshUse, StepResult
from oakctl.model.messages import ProcessUse

GOOD = Report(
    steps=(StepResult("lab up", True, 0.4),),
    hosts=7,
    measured=Measured(300, 15.0, 5.0, 9.0, 0.99),
    placements={"ar.demo.Rec.demo.instance.0": "edge/w3"},
    processes={"edge/w1:agent": ProcessUse(31.25, 0.4), "root": ProcessUse(90.0, 1.0)},
    ssh={"edge": SshUse(2, 20)},
)


def test_the_file_has_what_is_promised() -> None:
    body = json.loads(report.to_json(GOOD))
    assert body["ok"] is True
    assert body["steps"] == [{"name": "lab up", "ok": True, "seconds": 0.4, "message": ""}]
    assert (body["hosts"], body["frames"], body["fps"]) == (7, 300, 15.0)
    assert body["latency_ms"] == {"p50": 5.0, "p95": 9.0}
    assert body["labels_right"] == 0.99
    assert body["placements"] == {"ar.demo.Rec.demo.instance.0": "edge/w3"}
    assert body["rss_mb"] == {"edge/w1:agent": 31.2, "root": 90.0}
    assert body["cpu_percent"] == {"edge/w1:agent": 0.4, "root": 1.0}
    assert body["ssh"] == {"edge": {"logins": 2, "commands": 20}}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"steps": (StepResult("lab up", False, 1.0, "no port"),)}, "lab up: no port"),
        ({"steps": ()}, "nothing was done"),
        ({"measured": Measured(9, 9.9, 5, 9, 1.0)}, "9.9 frames per second, not 10"),
        ({"measured": Measured(9, 15.0, 5, 9, 0.949)}, "94.9% of the labels are right, not 95%"),
        ({"ssh": {"cloud": SshUse(1, 0)}}, "cloud: nothing was installed over SSH"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], fault: str) -> None:
    bad = replace(GOOD, **change)
    assert bad.faults == (fault,)
    assert json.loads(report.to_json(bad))["ok"] is False


def test_the_ssh_log_is_counted_per_host() -> None:
    log = (
        '2026-01-01T00:00:00Z edge login from 127.0.0.1 "root"\n'
        '2026-01-01T00:00:00Z edge exec "true"\n'
        "2026-01-01T00:00:01Z edge sftp\n"
        '2026-01-01T00:00:01Z edge forward to "127.2.0.1:4222"\n'
        '2026-01-01T00:00:02Z other exec "true"\n'
        "half a li"
    )
    assert report.ssh_use(log, ["edge", "cloud"]) == {"edge": SshUse(1, 2), "cloud": SshUse(0, 0)}
