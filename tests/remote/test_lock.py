"""One run at a time on a host: on a real one, and the rule alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from oakctl.errors import Conflict
from oakctl.remote import lock
from oakctl.remote.connection import FabricRemote, open_fabric
from oakctl.remote.lock import LEASE_S, Owner, has_ended, host_lock
from oakctl.remote.step import Cancelled
from tests.remote.servers import Machine, Machines

ME = Owner("m", "10-1", "now")


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make()


@pytest.fixture
def remote(machine: Machine) -> Iterator[FabricRemote]:
    with open_fabric(machine.target(accept_new=True)) as opened:
        yield opened


def never() -> threading.Event:
    return threading.Event()


def silent(reason: str) -> None:
    return


def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WAIT_S", 0.0)
    monkeypatch.setattr(lock, "ASK_EVERY_S", 0.01)


@pytest.mark.parametrize(
    ("owner", "age_s", "ended"),
    [
        (Owner("other", "10-1", "r"), LEASE_S, False),
        (Owner("other", "10-1", "r"), LEASE_S + 1, True),
        (Owner("m", "10-1", "under way"), 1, False),
        (Owner("m", "10-1", "over"), 1, True),
        (Owner("m", "11-1", "r"), 1, False),
        (Owner("m", "12-1", "r"), 1, True),
        (Owner.parse(""), 1, False),
        (Owner.parse("what is this"), LEASE_S + 1, True),
        (Owner("", "12-1", "r"), 1, False),
        (Owner("m", "11-1", "r"), LEASE_S + 1, True),  # stopped, or it would have renewed it
    ],
)
def test_when_a_run_has_ended(owner: Owner, age_s: float, ended: bool) -> None:
    assert (
        has_ended(owner, age_s, ME, {"under way", "now"}, lambda process: process == "11-1")
        is ended
    )


def test_an_owner_is_read_as_it_was_written() -> None:
    here = Owner.here()
    assert Owner.parse(str(here)) == here
    assert lock._is_alive(here.process)
    assert not lock._is_alive(here.process + "9")
    assert not lock._is_alive("what is this")


def test_it_leaves_nothing(remote: FabricRemote, machine: Machine) -> None:
    with host_lock(remote, never(), silent):
        assert (machine.home / ".oakctl" / ".lock" / "owner").exists()
    assert list(machine.home.iterdir()) == []


def test_a_second_run_is_told_and_refused(
    remote: FabricRemote, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_wait(monkeypatch)
    told: list[str] = []
    with host_lock(remote, never(), silent), open_fabric(machine.target()) as other:
        with (
            pytest.raises(Conflict, match="another run works on this host") as refused,
            host_lock(other, never(), told.append),
        ):
            pass
        assert (machine.home / ".oakctl" / ".lock").exists()
    assert refused.value.hint
    assert len(told) == 1


def test_a_second_run_waits_for_the_first(remote: FabricRemote, machine: Machine) -> None:
    waits, order = threading.Event(), []

    def second() -> None:
        with (
            open_fabric(machine.target()) as other,
            host_lock(other, never(), lambda reason: waits.set()),
        ):
            order.append("second")

    thread = threading.Thread(target=second)
    with host_lock(remote, never(), silent):
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_waiting_can_be_cancelled(remote: FabricRemote, machine: Machine) -> None:
    cancelled = threading.Event()
    with (
        host_lock(remote, never(), silent),
        open_fabric(machine.target()) as other,
        pytest.raises(Cancelled),
        host_lock(other, cancelled, lambda reason: cancelled.set()),
    ):
        pass


def test_the_lock_of_a_run_of_ours_that_lost_its_host_is_taken_at_once(
    remote: FabricRemote, machine: Machine
) -> None:
    with host_lock(remote, never(), silent):
        remote.close()
    assert (machine.home / ".oakctl" / ".lock").exists()
    with open_fabric(machine.target()) as other, host_lock(other, never(), pytest.fail):
        pass
    assert list(machine.home.iterdir()) == []


def test_a_lock_that_was_not_renewed_is_taken(remote: FabricRemote, machine: Machine) -> None:
    remote.put(f"{remote.layout.prefix}/.lock/owner", b"another/1-1/r")
    old = int(time.time()) - LEASE_S - 5
    remote.run(f"touch -d @{old} {remote.layout.prefix}/.lock")
    with host_lock(remote, never(), pytest.fail):
        pass
    assert list(machine.home.iterdir()) == []


def test_it_is_renewed_while_it_is_held(
    remote: FabricRemote, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_EVERY_S", 0.01)
    held = machine.home / ".oakctl" / ".lock"
    with host_lock(remote, never(), silent):
        for _ in range(3):
            remote.run(f"touch -d @1 {held}")
            machine.until(lambda: held.stat().st_mtime > 1)
    assert list(machine.home.iterdir()) == []


def test_a_run_that_was_taken_for_dead_stops(
    remote: FabricRemote, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_EVERY_S", 0.01)

    def be_taken_over(other: FabricRemote) -> None:
        with host_lock(remote, never(), silent):
            other.put(f"{remote.layout.prefix}/.lock/owner", b"another/1-1/r")
            remote.run("sleep 60")

    with (
        open_fabric(machine.target()) as other,
        pytest.raises(Conflict, match="taken this host over"),
    ):
        be_taken_over(other)
    assert (machine.home / ".oakctl" / ".lock" / "owner").read_text() == "another/1-1/r"


def test_many_at_once_never_overlap(
    remote: FabricRemote, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "ASK_EVERY_S", 0.01)
    remote.put(f"{remote.layout.prefix}/.lock/owner", b"another/1-1/r")
    remote.run(f"touch -d @1 {remote.layout.prefix}/.lock")  # all find it stale
    alone, overlaps, ran = threading.Lock(), [], []

    def run(number: int) -> None:
        with open_fabric(machine.target()) as mine, host_lock(mine, never(), silent):
            if not alone.acquire(blocking=False):
                overlaps.append(number)
                return
            mine.run("true")
            alone.release()
            ran.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert overlaps == []
    assert sorted(ran) == list(range(6))
    assert list(machine.home.iterdir()) == []
