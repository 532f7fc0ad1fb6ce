"""The whole demonstration, and what is left of one that is interrupted: nothing."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oakctl import paths
from oakctl.client.process import running_root
from oakctl.demo import report
from oakctl.demo.observer import DemoSample, Picture
from oakctl.demo.runner import Demo
from oakctl.lab.loopback import DEMO_HOSTS
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay


class Recorder:
    """Remembers; and can stop the demonstration when a step begins."""

    def __init__(self, stop_at: str = "") -> None:
        self.pictures: list[Picture] = []
        self.samples: list[DemoSample] = []
        self.ended: list[str] = []
        self._stop_at = stop_at
        self.task: asyncio.Task[object] | None = None
        self.on_sample: Callable[[], object] = lambda: None

    def step(self, name: str, state: str, seconds: float, message: str) -> None:
        if state == "done":
            self.ended.append(name)
        if name == self._stop_at and self.task is not None:
            self.task.cancel()
            self.task = None

    def picture(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def sample(self, sample: DemoSample) -> None:
        self.samples.append(sample)
        self.on_sample()


def processes_of_the_demo() -> list[str]:
    """Whatever has this test's state directory in its environment, besides this process."""
    mark = f"XDG_STATE_HOME={paths.state_directory()}/demo/state".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def assert_nothing_is_left() -> None:
    demo = paths.state_directory() / "demo"
    assert processes_of_the_demo() == []
    assert not (demo / "state").exists()
    left = [path for path in demo.rglob("*") if path.is_file() and path.parent.name != "logs"]
    assert left == [demo / "lock"]


@pytest.mark.slow
@pytest.mark.timeout(600)
# On loopback it is played from the wheel, too (tests/chain/test_wheel.py).
@pytest.mark.parametrize("lab", [pytest.param("loopback", marks=pytest.mark.soak), "namespaces"])
async def test_the_whole_of_it(lab: str, request: pytest.FixtureRequest) -> None:
    if lab == "namespaces":
        request.getfixturevalue("kernel_overlay")
    recorder = Recorder()
    demonstration = Demo(seconds=math.inf, lab=lab)
    recorder.on_sample = lambda: len(recorder.samples) == 4 and demonstration.stop()
    found = await demonstration.run(recorder)
    body = json.loads(report.to_json(found))
    assert [step for step in found.steps if not step.ok] == []
    assert body["hosts"] == len(DEMO_HOSTS)
    assert set(body["ssh"]) == {host.name for host in DEMO_HOSTS}
    assert all(use["logins"] and use["commands"] for use in body["ssh"].values())
    services = {name.split(".")[2] for name in body["placements"]}
    assert services == {"Pre", "Obj", "Rec", "Client"}
    keys = {"root", "edge:bus", "edge:orchestrator", "edge/w1:agent", "cloud/w1:agent"}
    if lab == "loopback":
        keys.add("edge/w4:relay")  # the kernel overlay has none
    assert keys <= set(body["rss_mb"])
    assert all(value > 0 for value in body["rss_mb"].values())
    assert recorder.pictures
    assert recorder.samples
    assert body["frames"] > 0
    assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop_at",
    [
        pytest.param("root up", marks=pytest.mark.soak),
        "worker edge/w2",
        pytest.param("instances ready", marks=pytest.mark.soak),
    ],
)
async def test_interrupted_it_leaves_nothing(stop_at: str) -> None:
    recorder = Recorder(stop_at)
    recorder.task = task = asyncio.create_task(Demo(seconds=6).run(recorder))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "nothing left" in recorder.ended
    assert_nothing_is_left()


@pytest.mark.slow
async def test_after_a_killed_one_the_next_clears_up() -> None:
    script = (
        "import asyncio\n"
        "from oakctl.demo.headless import HeadlessObserver\n"
        "from oakctl.demo.runner import Demo\n"
        "asyncio.run(Demo().run(HeadlessObserver(lambda line: print(line, flush=True))))\n"
    )
    first = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("hosts register"):
            break
    first.send_signal(signal.SIGKILL)
    await asyncio.to_thread(first.communicate)
    assert processes_of_the_demo() != []
    recorder = Recorder("hosts register")
    recorder.task = task = asyncio.create_task(Demo().run(recorder))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_is_left()
    assert await running_root() is None
