"""What the picture of containers means for a record, and what an agent without Docker carries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from oakctl.orchestration.worker import procfs, record
from oakctl.orchestration.worker.attempt import Attempt
from oakctl.orchestration.worker.docker import (
    seen,
)
from oakctl.orchestration.worker.docker.driver import Driver
from tests.worker.docker.parts import instance, runtime_with


async def test_what_a_look_says_of_a_start(tmp_path: Path) -> None:
    driver = Driver(str(tmp_path / "none"), "/p", lambda: None)
    runtime = runtime_with(driver, tmp_path)
    known = replace(record.new(instance(), 1.0), attempt=1, phase=record.Phase.RUNNING)
    key = seen.key_of_record(known)
    assert runtime.look(known).held, "nobody has looked yet"
    driver.known = True
    assert runtime.look(known).never_ran
    fresh = seen.Seen("id", key, "created", created_at=float(int(time.time())))
    driver.seen[key] = fresh
    assert runtime.look(known).held, "its start may be under way"
    driver.seen[key] = replace(fresh, created_at=1.0)
    assert runtime.look(known).never_ran
    here = procfs.stat_of(os.getpid())
    assert here is not None
    driver.seen[key] = replace(fresh, state="running", pid=here.pid, start=here.start)
    assert runtime.look(known).lives, "Docker is away, its process is there"
    driver.seen[key] = replace(fresh, state="running", pid=here.pid, start=here.start + 1)
    assert runtime.look(known) == Attempt(held=True)
    driver.seen[key] = driver.seen[key].removed
    gone = runtime.look(known)
    assert gone.over
    assert not gone.never_ran
    assert "removed" in gone.words


def test_an_agent_without_docker_loads_nothing_of_it() -> None:
    code = (
        "import sys, oakctl.orchestration.worker.process\n"
        "print([n for n in sys.modules if n == 'docker' or '.worker.docker' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
