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
from oakctl.orchestration.worker.runtime import Launch
from tests.worker.docker.parts import instance, runtime_with
from tests.worker.stage import until


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


class Broken:
    """An engine as no Docker is: what it answers cannot be foreseen."""

    def containers(self, _prefix: str) -> dict[str, str]:
        return {}

    def create(self, _name: str, _body: object) -> str:
        raise ValueError("no JSON")


async def test_a_start_that_fails_in_an_unforeseen_way_is_made_again_only_after_a_while(
    tmp_path: Path,
) -> None:
    driver = Driver(str(tmp_path / "none"), "/p", lambda: None)
    driver.engine = Broken()  # type: ignore[assignment]
    runtime = runtime_with(driver, tmp_path)
    known = replace(record.new(instance(), 1.0), attempt=1, phase=record.Phase.RUNNING)
    runtime.start(Launch(known.desired, 1, {}, "", ""))
    await until(lambda: not runtime.look(known).held, "the start to be over")
    assert "its start failed on this node: ValueError: no JSON" in runtime.look(known).refused


def test_an_agent_without_docker_loads_nothing_of_it() -> None:
    code = (
        "import sys, oakctl.orchestration.worker.process\n"
        "print([n for n in sys.modules if n == 'docker' or '.worker.docker' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
