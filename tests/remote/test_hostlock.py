"""The host's lock on real SSH servers: one run at a time, and none that outlives its run."""

from __future__ import annotations

import threading

import pytest

from oakctl.errors import Conflict, OakError
from oakctl.remote import hostlock
from oakctl.remote.connection import open_fabric
from oakctl.remote.hostlock import host_lock
from oakctl.remote.step import Cancelled
from tests.remote.servers import Machine, Machines


@pytest.fixture(autouse=True)
def heard_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostlock, "SAY_EVERY_S", 0.2)


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


def test_a_holder_whose_link_went_silent_is_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostlock, "SAY_EVERY_S", 1000.0)
    monkeypatch.setattr(hostlock, "LEASE_S", 2)
    told: list[str] = []
    with (
        open_fabric(machine.target(accept_new=True)) as silent,
        open_fabric(machine.target()) as second,
        host_lock(silent),
        host_lock(second, told.append),
    ):
        assert len(told) == 1
        assert "process" in told[0]


def test_a_silent_holder_is_not_waited_for_longer_than_its_lease(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostlock, "SAY_EVERY_S", 1000.0)
    with (
        open_fabric(machine.target(accept_new=True)) as silent,
        open_fabric(machine.target()) as second,
        host_lock(silent),
    ):
        monkeypatch.setattr(hostlock, "LEASE_S", 1)
        monkeypatch.setattr(hostlock, "SLACK_S", 1)
        with pytest.raises(Conflict, match="another run"), host_lock(second):
            pass


def test_a_wait_can_be_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostlock, "SAY_EVERY_S", 1000.0)
    with (
        open_fabric(machine.target(accept_new=True)) as silent,
        open_fabric(machine.target()) as second,
        host_lock(silent),
    ):
        closing = threading.Thread(target=second.close)
        with (
            pytest.raises(Cancelled, match="waiting for the host"),
            host_lock(second, lambda _: closing.start()),
        ):
            pass
        closing.join()


def test_a_host_that_cannot_be_written_is_not_said_to_be_taken(machine: Machine) -> None:
    with open_fabric(machine.target(accept_new=True)) as remote:
        (machine.home / ".oakctl").write_text("no directory")
        with pytest.raises(OakError, match=r"cannot be held for this run: .*oakctl") as raised:
            host_lock(remote).__enter__()
        assert not isinstance(raised.value, Conflict)
        assert raised.value.hint
