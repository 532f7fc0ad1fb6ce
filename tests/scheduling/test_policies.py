"""What the policies prefer, and policies of other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.model.resources import Resources
from oakctl.orchestration.scheduling import plugins, policies
from oakctl.orchestration.scheduling.cluster import decide

from .samples import service, worker


def test_rom_fills_the_worker_that_has_least_left() -> None:
    fleet = [worker("a"), worker("b", reserved=Resources(2, 500)), worker("c")]
    assert decide(service(), fleet, "rom").worker == "b"


def test_rom_keeps_accelerators_for_those_who_ask() -> None:
    plain, gpu = Resources(4, 1000), Resources(4, 1000, vgpus=1)
    fleet = [worker("a", gpu), worker("b", plain)]
    assert decide(service(), fleet, "rom").worker == "b"
    wants = service(requests=Resources(1, 100, vgpus=1))
    assert decide(wants, fleet, "rom").worker == "a"


def test_spread_counts_the_service_then_all_then_room() -> None:
    fleet = [
        worker("a", instances_of_service=1, instances_total=1),
        worker("b", instances_total=3),
        worker("c", instances_total=2, reserved=Resources(1)),
        worker("d", instances_total=2),
        worker("e", instances_total=2),
    ]
    verdicts = decide(service(), fleet, "spread").verdicts
    assert [v.candidate for v in verdicts] == ["d", "e", "c", "b", "a"]


@pytest.mark.parametrize("policy", policies.BUILT_IN)
def test_equals_are_settled_by_name(policy: str) -> None:
    fleet = [worker("b"), worker("a"), worker("c")]
    assert decide(service(), fleet, policy).worker == "a"


@pytest.fixture
def installed_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a policy, installed as pip would."""
    (tmp_path / "backwards.py").write_text(
        "from oakctl.orchestration.scheduling.policies import Score\n"
        "def score(spec, candidate):\n"
        "    return Score((float(ord(candidate.name[0])),), ('backwards',))\n"
    )
    metadata = tmp_path / "backwards-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: backwards\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[oakctl.policies]\nbackwards = backwards:score\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._found.cache_clear()
    yield
    plugins._found.cache_clear()
    sys.modules.pop("backwards", None)


@pytest.mark.usefixtures("installed_policy")
def test_another_package_brings_a_policy() -> None:
    assert policies.names()[:2] == ("rom", "spread")
    assert "backwards" in policies.names()
    assert decide(service(), [worker("a"), worker("b")], "backwards").worker == "b"
