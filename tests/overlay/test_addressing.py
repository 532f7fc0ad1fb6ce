"""The address plan and its leases."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oakctl.errors import Conflict, UsageError
from oakctl.model import wire
from oakctl.overlay import addressing
from oakctl.overlay.addressing import Leases


def test_blocks_of_clusters_do_not_overlap() -> None:
    blocks = [ipaddress.ip_network(addressing.cluster_block(n)) for n in range(16)]
    assert str(blocks[1]) == "10.18.16.0/20"
    assert sum(block.num_addresses for block in blocks) == 65536
    assert len({block.network_address for block in blocks}) == 16
    with pytest.raises(UsageError):
        addressing.cluster_block(16)
    with pytest.raises(UsageError):
        addressing.cluster_block(-1)


def test_subnets_and_addresses_of_a_worker() -> None:
    subnets, first = addressing.lease(addressing.worker_subnets("10.18.16.0/20"), "w1", 0)
    _, second = addressing.lease(subnets, "w2", 0)
    assert (first, second) == ("10.18.16.0/26", "10.18.16.64/26")
    assert addressing.gateway(second) == "10.18.16.65"
    leases = addressing.instance_addresses(second)
    given_out = []
    for number in range(61):
        leases, address = addressing.lease(leases, str(number), 0)
        given_out.append(address)
    assert (given_out[0], given_out[-1]) == ("10.18.16.66", "10.18.16.126")
    with pytest.raises(Conflict, match="61 are in use"):
        addressing.lease(leases, "one more", 0)


def test_a_lease_is_kept_and_rests_when_it_is_given_back() -> None:
    leases, address = addressing.lease(addressing.service_addresses(), "a", 0)
    assert address == "10.30.1.0"
    assert addressing.lease(leases, "a", 0) == (leases, address)
    leases = addressing.release(leases, "a", 100, quarantine_s=60)
    assert addressing.lease(leases, "b", 159.9)[1] == "10.30.1.1"
    assert addressing.lease(leases, "b", 160)[1] == "10.30.1.0"
    assert addressing.release(leases, "nobody", 0) is leases


def test_a_clock_that_was_set_back_holds_no_addresses() -> None:
    leases, address = addressing.lease(Leases("10.18.0.0/32"), "a", 1e9)
    leases = addressing.release(leases, "a", 1e9)
    with pytest.raises(Conflict, match="1 rest"):
        addressing.lease(leases, "b", 1e9 - 30)
    assert addressing.lease(leases, "b", 1e9 - 3600)[1] == address


def test_pinned_addresses() -> None:
    leases = addressing.pin(addressing.service_addresses(), "a", "10.30.30.30")
    assert leases.held == {"a": "10.30.30.30"}
    assert addressing.pin(leases, "a", "10.30.30.30") == leases
    with pytest.raises(Conflict, match="belongs to a"):
        addressing.pin(leases, "b", "10.30.30.30")
    with pytest.raises(Conflict, match="already has"):
        addressing.pin(leases, "a", "10.30.30.31")
    with pytest.raises(UsageError, match="outside"):
        addressing.pin(leases, "b", "10.31.0.1")
    rested = addressing.release(leases, "a", 0)
    assert addressing.pin(rested, "b", "10.30.30.30").resting == {}


def test_what_is_pinned_is_not_given() -> None:
    leases = addressing.pin(addressing.service_addresses(), "a", "10.30.1.0")
    assert addressing.lease(leases, "b", 0)[1] == "10.30.1.1"


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_leases_travel(held: dict[str, str]) -> None:
    leases = Leases("10.18.0.0/26", held=held, resting={"10.18.0.2": 1.5})
    assert wire.decode(wire.encode(leases), Leases) == leases


class LeaseMachine(RuleBasedStateMachine):
    """Whatever happens: one holder for each address, and rest before reuse."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases("10.18.0.0/29", skip_first=2, skip_last=1)  # five addresses
        self.now = 0.0
        self.given_back: dict[str, float] = {}

    @rule(holder=st.sampled_from("abcdefg"))
    def take(self, holder: str) -> None:
        had = self.leases.held.get(holder)
        try:
            self.leases, address = addressing.lease(self.leases, holder, self.now)
        except Conflict:
            resting = [a for a, at in self.given_back.items() if at + 60 > self.now]
            assert len(self.leases.held) + len(resting) == 5
            return
        assert had in (None, address)
        if had is None:
            assert self.given_back.get(address, -100) + 60 <= self.now

    @precondition(lambda self: self.leases.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(sorted(self.leases.held)))
        self.given_back[self.leases.held[holder]] = self.now
        self.leases = addressing.release(self.leases, holder, self.now)

    @rule(seconds=st.integers(0, 70))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def one_holder_each(self) -> None:
        held = list(self.leases.held.values())
        assert len(set(held)) == len(held)
        assert all("10.18.0.2" <= address <= "10.18.0.6" for address in held)


TestLeases = LeaseMachine.TestCase
