"""Parameters of faults, and what their names mean in a fleet."""

from __future__ import annotations

import pytest

from oakctl.chaos import faults, targets
from oakctl.chaos.faults import Kind
from oakctl.errors import Conflict, NotFound, OakError, UsageError
from tests.chaos.samples import FLEET, INSTANCE


@pytest.mark.parametrize(
    ("text", "bits"), [("1mbit", 1_000_000), ("500k", 500_000), ("2.5 Mbit/s", 2_500_000)]
)
def test_a_bandwidth(text: str, bits: int) -> None:
    assert faults.rate(text) == bits


@pytest.mark.parametrize("text", ["", "fast", "1", "-1mbit", "7k", "1 mile"])
def test_no_bandwidth(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        faults.rate(text)
    assert refused.value.hint


@pytest.mark.parametrize(("text", "mib"), [("50MB", 50), ("1G", 1024), ("200", 200), ("512k", 0.5)])
def test_a_size(text: str, mib: float) -> None:
    assert faults.size_mb(text) == mib


def test_a_delay() -> None:
    assert (faults.delay_ms("100ms"), faults.delay_ms("0.5s")) == (100, 500)
    for text in ("100", "0ms", "2h", "100s"):
        with pytest.raises(UsageError):
            faults.delay_ms(text)


def test_what_lasts_has_an_end_without_being_asked_for_one() -> None:
    assert faults.fault(Kind.ISOLATE, "pi-1").for_s == faults.DEFAULT_S
    assert faults.fault(Kind.KILL_BUS, "edge").for_s == 0
    assert faults.fault(Kind.KILL_BUS, "edge", for_s=5).for_s == 5


@pytest.mark.parametrize("for_s", [0.0, 0.5, -1.0, faults.LONGEST_S + 1])
def test_an_end_too_soon_or_too_late(for_s: float) -> None:
    with pytest.raises(UsageError, match="is not between"):
        faults.fault(Kind.ISOLATE, "pi-1", for_s=for_s)


def test_parameters_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="how slow"):
        faults.fault(Kind.SLOW, "pi-1")
    with pytest.raises(UsageError, match="parted from itself"):
        faults.fault(Kind.PARTITION, "pi-1", peer="pi-1")


def test_one_of_a_kind_on_a_host_but_kills_and_partitions() -> None:
    isolate = faults.fault(Kind.ISOLATE, "pi-1")
    assert faults.key(isolate, "a") == faults.key(isolate, "b") == "isolate"
    for kind in (Kind.KILL_INSTANCE, Kind.PARTITION):
        one = faults.fault(kind, "x", peer="y")
        assert faults.key(one, "a") != faults.key(one, "b")


@pytest.mark.parametrize(
    ("name", "host"),
    [("pi-1", "pi-1"), ("edge/w1", "pi-1"), ("w2", "pi-2"), ("far/w1", "lab-1"), ("hub", "hub")],
)
def test_a_node(name: str, host: str) -> None:
    assert targets.node(FLEET, name).name == host


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("spare", NotFound, "no role in the fleet"),
        ("pi-9", NotFound, "no node pi-9"),
        ("w1", UsageError, "any of 2 workers"),
        ("w3", Conflict, "joined by a token"),
    ],
)
def test_no_node_of_the_fleet(name: str, error: type[OakError], said: str) -> None:
    with pytest.raises(error, match=said) as refused:
        targets.node(FLEET, name)
    assert refused.value.hint


def test_an_instance_is_killed_where_it_is() -> None:
    aim = targets.aim(FLEET, faults.fault(Kind.KILL_INSTANCE, INSTANCE))
    assert (aim.host.name, aim.instance, aim.subjects) == ("pi-1", INSTANCE, (INSTANCE,))
    with pytest.raises(Conflict, match="on no worker"):
        targets.aim(FLEET, faults.fault(Kind.KILL_INSTANCE, "shop.demo.Web.demo.instance.1"))
    with pytest.raises(NotFound):
        targets.aim(FLEET, faults.fault(Kind.KILL_INSTANCE, "shop.demo.Web.demo.instance.7"))


def test_units_are_where_the_root_has_put_them() -> None:
    assert targets.aim(FLEET, faults.fault(Kind.KILL_AGENT, "w2")).host.name == "pi-2"
    assert targets.aim(FLEET, faults.fault(Kind.KILL_BUS, "edge")).host.name == "hub"
    for kind in (Kind.KILL_AGENT, Kind.KILL_ORCHESTRATOR):
        with pytest.raises(NotFound):
            targets.aim(FLEET, faults.fault(kind, "nobody"))


def test_a_partition_has_two_ends() -> None:
    aim = targets.aim(FLEET, faults.fault(Kind.PARTITION, "pi-1", peer="edge/w2"))
    assert aim.other is not None
    assert (aim.host.name, aim.other.name) == ("pi-1", "pi-2")
    with pytest.raises(UsageError, match="both ends"):
        targets.aim(FLEET, faults.fault(Kind.PARTITION, "pi-1", peer="edge/w1"))


def test_what_follows_is_said_before() -> None:
    def said(kind: Kind, target: str) -> str:
        return targets.aim(FLEET, faults.fault(kind, target)).consequence

    isolated = said(Kind.ISOLATE, "pi-1")
    assert "1 instance on it" in isolated
    assert "pi-2 cannot be reached through it" in isolated
    assert "starts again at once" in said(Kind.POWER_CUT, "pi-1")
    assert "stays off" in said(Kind.POWER_CUT, "lab-1")


def test_subjects_are_what_the_timeline_will_name() -> None:
    def subjects(kind: Kind, target: str, for_s: float | None = None) -> set[str]:
        return set(targets.aim(FLEET, faults.fault(kind, target, for_s=for_s)).subjects)

    assert subjects(Kind.POWER_CUT, "pi-1") == {"w1", INSTANCE}
    assert subjects(Kind.KILL_AGENT, "edge/w1") == {"w1"}
    assert subjects(Kind.KILL_AGENT, "edge/w1", 30) == {"w1", INSTANCE}
    assert subjects(Kind.KILL_BUS, "edge") == {"edge", "w1", "w2", "w3"}
