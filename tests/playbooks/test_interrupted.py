"""A run that was dropped after any of its steps comes to what an undisturbed one comes to."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from oakctl.model.views import StepEvent
from oakctl.remote.step import Cancelled
from tests.playbooks.conftest import Host

# Drawn anew in every run, or written by what runs: there, with its mode, and of any content.
OF_ITS_OWN = re.compile(
    r"(.*\.(pem|key|secret|pyc|unit\.json)|etc/worker/secret|etc/bus/(nats\.conf|users\.(json|inc))"
    r"|etc/units/.*|(state|log|run)/.*)"
)
# There when it is looked at, or not yet: written by what runs.
PASSING = re.compile(r"(state/(bus|agent|overlay).*|log/.*|run/.*|instances/.*|.*__pycache__.*)")
STEPS = 36  # of both roles, with what is told of the host itself
IN_A_TEST = (13, 31)  # one of either role; test_roles and test_bootstrap cut off in their ways


def picture(prefix: Path) -> dict[str, str]:
    """What is there, by name below the prefix: kind, mode and content."""
    found = {}
    for path in prefix.rglob("*"):
        name = str(path.relative_to(prefix))
        if PASSING.fullmatch(name):
            continue
        mode = path.lstat().st_mode
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file() and not OF_ITS_OWN.fullmatch(name):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = ""
        found[name] = f"{mode:o} {content}"
    return found


async def both_roles(host: Host) -> int:
    """Make the host an orchestrator and a worker; of how many steps that was."""
    access = await host.cluster()
    count = finished(host)
    await host.worker(access)
    return count + finished(host)


def finished(host: Host) -> int:
    return sum(event.state in ("done", "skipped") for event in host.told)


async def dropped_after(host: Host, steps: int) -> None:
    """As `both_roles`, and the connection is given up as soon as `steps` are over."""
    before = 0

    def stop(event: StepEvent) -> bool:
        return before + finished(host) >= steps

    try:
        access = await host.cluster(stop)
        before = finished(host)
        await host.worker(access, stop)
    except Cancelled:
        return
    pytest.fail(f"there are no {steps} steps")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(number, marks=() if number in IN_A_TEST else pytest.mark.soak)
        for number in range(1, STEPS)
    ],
)
async def test_after_any_step(host: Host, steps: int) -> None:
    await dropped_after(host, steps)
    assert await both_roles(host) <= STEPS, "there are steps that this test does not know"
    carried_on, units = picture(host.prefix), await host.states()
    manifest = Path(host.layout.manifest).read_bytes()
    for role in ("worker", "cluster"):
        await host.remove(role)

    await both_roles(host)
    assert carried_on == picture(host.prefix)
    assert units == await host.states()
    assert manifest == Path(host.layout.manifest).read_bytes()
    assert set(units.values()) == {"running"}
