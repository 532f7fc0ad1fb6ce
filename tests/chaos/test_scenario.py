"""Scenarios as files, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.chaos import scenario
from oakctl.chaos.faults import Kind
from oakctl.errors import UsageError

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "chaos").glob("*.yaml"))

WHOLE = """
name: all
application: shop.demo
probe: {tcp: "127.0.0.1:80", every: 500ms}
settle: 2m
faults:
  - {at: 90s, do: {kill-bus: edge}, expect: {detected: 4s, replaced: 10s, failed: 3}}
  - {at: 1s, do: {kill-instance: Web.instance.0}, for: 10s}
  - {at: 2s, do: {partition: [a, b]}, for: 1m}
  - {at: 3s, do: {slow: {node: a, bandwidth: 1mbit, delay: 50ms}}}
  - {at: 4s, do: {fill-disk: a}}
  - {at: 5s, do: {fill-disk: {node: a, leave: 1G}}}
"""


def test_a_whole_one_in_the_order_of_time() -> None:
    found = scenario.parse(WHOLE)
    assert found.probe is not None
    assert (found.name, found.application, found.settle_s) == ("all", "shop.demo", 120)
    assert (found.probe.tcp, found.probe.every_s) == ("127.0.0.1:80", 0.5)
    faults = [step.fault for step in found.steps]
    assert [step.at_s for step in found.steps] == [1, 2, 3, 4, 5, 90]
    assert [fault.for_s for fault in faults] == [10, 60, 30, 30, 30, 0]
    assert (faults[1].target, faults[1].peer) == ("a", "b")
    assert (faults[2].bits_per_s, faults[2].delay_ms) == (10**6, 50)
    assert [fault.leave_mb for fault in faults[3:5]] == [50, 1024]
    assert faults[5].kind is Kind.KILL_BUS
    assert found.steps[5].expect.failed == 3


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_the_examples_are_right(file: Path) -> None:
    assert scenario.parse(file.read_bytes()).steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: []", "faults"),
        ("faults: [{at: 1s, do: {kill-busses: edge}}]", "did you mean `kill-bus`?"),
        ("faults: [{at: 1s, do: {}}]", "exactly one fault"),
        ("faults: [{at: 1s, do: {kill-bus: edge, isolate: a}}]", "exactly one fault"),
        ("faults: [{at: soon, do: {kill-bus: edge}}]", "is not a duration"),
        ("faults: [{at: 1s, do: {slow: {node: a}}}]", "how slow"),
        ("faults: [{at: 1s, do: {partition: [a]}}]", "partition"),
        ("faults: [{at: 1s, do: {isolate: a}, for: 48h}]", "is not between"),
        ("faults: [{at: 1s, do: {isolate: a}, expect: {failed: 0}}]", "only with a `probe`"),
        ("probe: {}\nfaults: [{at: 1s, do: {isolate: a}}]", "either `url` or `tcp`"),
        ("probe: {url: 'ftp://a'}\nfaults: [{at: 1s, do: {isolate: a}}]", "http://"),
        ("probe: {tcp: 'a'}\nfaults: [{at: 1s, do: {isolate: a}}]", "HOST:PORT"),
        ("fautls: []", "is not a known key"),
        ("faults: [", ""),
        ("", "empty"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        scenario.parse(text)
    assert said in "\n".join(refused.value.details)
    assert refused.value.details
    assert "nothing was broken" in refused.value.hint


def test_every_fault_of_a_file_is_told_at_once() -> None:
    text = "faults: [{at: 1s, do: {slow: {node: a}}}, {at: x, do: {isolate: a}}, {at: 1s, dO: 1}]"
    with pytest.raises(UsageError) as refused:
        scenario.parse(text)
    assert len(refused.value.details) >= 3
