"""What a worker's host is told of where its tunnel is reached, and who is refused beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.errors import UsageError
from oakctl.model.requests import WorkerAdd
from oakctl.orchestration.root import admission
from oakctl.orchestration.root.bootstrap import worker_inputs
from oakctl.remote.bootstrap import ClusterAccess

ACCESS = ClusterAccess("203.0.113.5", 4222, "127.0.0.1", 4222, "", "edge")
ASKED = WorkerAdd("w1", "edge", "hub")


def endpoint(request: WorkerAdd, hub: str, access: ClusterAccess = ACCESS) -> tuple[str, int, bool]:
    given = worker_inputs(request, "s", access, hub)
    return given.tunnel_endpoint, given.tunnel_port, given.relay


def test_the_worker_on_the_orchestrators_host_is_the_relay() -> None:
    assert endpoint(ASKED, "hub") == ("203.0.113.5:51820", 51820, True)
    assert endpoint(ASKED, "other") == endpoint(ASKED, "") == ("", 51820, False)
    moved = replace(ASKED, endpoint=":51821")
    assert endpoint(moved, "hub") == ("203.0.113.5:51821", 51821, True)
    assert endpoint(moved, "other") == ("", 51821, False)
    named = replace(ACCESS, bus_address="hub.example.org")
    assert endpoint(ASKED, "hub", named) == ("", 51820, True), "a name is no endpoint"


def test_the_operators_word_counts() -> None:
    declared = replace(ASKED, endpoint="198.51.100.7:4000", relay=True)
    for hub in ("hub", "other"):
        assert endpoint(declared, hub) == ("198.51.100.7:4000", 4000, True)


@pytest.mark.parametrize("wrong", [{"overlay": "bridge"}, {"endpoint": "gate.example.org"}])
def test_what_is_no_overlay_and_no_endpoint_is_refused(wrong: dict[str, str]) -> None:
    admission.check_overlay(replace(ASKED, overlay="kernel", endpoint=":1"))
    with pytest.raises(UsageError):
        admission.check_overlay(replace(ASKED, **wrong))  # type: ignore[arg-type]
