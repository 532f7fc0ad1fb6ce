"""The host's lock on real SSH servers: one run at a time, and none that outlives its run."""

from __future__ import annotations

import pytest

from oakctl.errors import Conflict
from oakctl.remote.connection import open_fabric
from oakctl.remote.hostlock import host_lock
from tests.remote.servers import Machine, Machines


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make(noise="echo Welcome held; ")


def free(machine: Machine) -> bool:
    """Whether another run gets the host now."""
    with open_fabric(machine.target(accept_new=True)) as other:
        try:
            with host_lock(other):
                return True
        except Conflict:
            return False


def test_one_run_at_a_time_and_the_holder_is_named(machine: Machine) -> None:
    with (
        open_fabric(machine.target(accept_new=True)) as first,
        open_fabric(machine.target()) as second,
        host_lock(first),
        pytest.raises(Conflict, match=r"another run .* process \d+"),
        host_lock(second),
    ):
        pass
    machine.until(lambda: free(machine))


def test_a_run_that_lost_its_link_lets_go(machine: Machine) -> None:
    first = open_fabric(machine.target(accept_new=True))
    lock = host_lock(first)
    lock.__enter__()
    assert not free(machine)
    first.close()
    machine.until(lambda: free(machine))
    lock.__exit__(None, None, None)
