"""The playbooks on a lab's hosts: cut off after every step, run again, and taken away."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oakctl.lab.loopback import Lab
from oakctl.model.views import StepEvent
from oakctl.remote import bootstrap
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs
from oakctl.remote.step import Cancelled
from oakctl.remote.target import Target
from tests.chain import fleet
from tests.playbooks.conftest import ROOT_SECRET, WORKER_SECRET, enrol

pytestmark = pytest.mark.slow


class Cut:
    """Reports of a run that is cancelled after a number of finished steps."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.cancelled = threading.Event()
        self.events: list[StepEvent] = []

    def __call__(self, event: StepEvent) -> None:
        self.events.append(event)
        if self.after is not None and self.finished >= self.after:
            self.cancelled.set()

    @property
    def finished(self) -> int:
        return sum(event.state in ("done", "skipped") for event in self.events)

    @property
    def changed(self) -> list[str]:
        return [event.step for event in self.events if event.state == "done"]


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with fleet.lab(fleet.HOSTS[:2]) as made:
        yield made


def target(lab: Lab, number: int) -> Target:
    return Target.of(lab.hosts[number])


def home(lab: Lab, number: int) -> Path:
    """The home directory of a host, as this machine sees it."""
    name = lab.hosts[number].name
    found = [path for path in lab.directory.rglob("*") if path.name == name and path.is_dir()]
    return next(path / "home" if (path / "home").is_dir() else path for path in found)


def cluster(lab: Lab, cut: Cut) -> ClusterAccess:
    inputs = ClusterInputs("edge", "rom", None, "10.18.0.0/20", ROOT_SECRET)
    return bootstrap.bootstrap_cluster(target(lab, 0), inputs, cut, cut.cancelled)


def worker(lab: Lab, cut: Cut, access: ClusterAccess) -> None:
    inputs = WorkerInputs(
        "w1", "edge", WORKER_SECRET, access.bus_address, access.bus_port, access.ca_pem
    )
    bootstrap.bootstrap_worker(target(lab, 1), inputs, cut, cut.cancelled)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def test_cut_off_after_every_step(lab: Lab, tmp_path: Path) -> None:
    before = everything(home(lab, 0)), everything(home(lab, 1))
    changed: list[str] = []
    steps = len(bootstrap.cluster_plan(ClusterInputs("edge", "rom", None, "", ROOT_SECRET)))
    for after in range(1, steps):
        cut = Cut(after)
        with pytest.raises(Cancelled):
            cluster(lab, cut)
        changed += cut.changed
    last = Cut()
    access = cluster(lab, last)
    changed += last.changed
    assert len(changed) == len(set(changed)), "a step was done twice"

    again = Cut()
    assert cluster(lab, again) == access
    assert again.changed == []

    await enrol(access, tmp_path)
    worker(lab, Cut(), access)
    repeated = Cut()
    worker(lab, repeated, access)
    assert repeated.changed == []

    nothing_secret(lab, [*last.events, *repeated.events])
    for number, role in ((1, "worker"), (0, "cluster")):
        for _ in range(2):  # twice is fine
            bootstrap.remove(target(lab, number), role, Cut(), threading.Event())
    assert (everything(home(lab, 0)), everything(home(lab, 1))) == before


def nothing_secret(lab: Lab, events: list[StepEvent]) -> None:
    """No secret in reports, process lists or the SSH servers' log; its files are private."""
    arguments = fleet.commands(fleet.processes_with(OAKCTL_LAB=lab.id))
    seen = repr(events) + repr(arguments) + lab.ssh_log.read_text()
    for secret in (ROOT_SECRET, WORKER_SECRET):
        assert secret not in seen
    for path in home(lab, 1).rglob("secret"):
        assert path.stat().st_mode & 0o077 == 0


async def test_a_half_made_host_is_taken_away(lab: Lab) -> None:
    before = everything(home(lab, 0))
    with pytest.raises(Cancelled):
        cluster(lab, Cut(6))
    bootstrap.remove(target(lab, 0), "cluster", Cut(), threading.Event())
    assert everything(home(lab, 0)) == before
