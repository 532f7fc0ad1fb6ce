"""Workers without an overlay: one address for all instances, so a port only once."""

from __future__ import annotations

from dataclasses import replace

from oakctl.model.service import Port
from oakctl.orchestration.scheduling import filters
from oakctl.orchestration.scheduling.candidate import Surroundings
from tests.scheduling import samples


def test_a_port_is_taken_once_where_there_is_no_overlay() -> None:
    spec = samples.service(listen=(Port(container=8080, host=0, protocol="tcp"),))
    free = samples.worker("w1")
    taken = replace(free, host_ports={("tcp", 8080): samples.JOB})
    alone = replace(taken, facts=replace(taken.facts, overlay_driver="host"))
    assert filters.host_network(spec, taken, Surroundings()) == ""
    assert filters.host_network(spec, alone, Surroundings()) == (
        f"port 8080/tcp of the host is taken by {samples.JOB}: this worker has no overlay"
    )
    assert filters.host_network(spec, replace(alone, host_ports={}), Surroundings()) == ""
