"""When two nodes change to a direct path and back, both sides together, in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oakctl.overlay.kernel import paths
from oakctl.overlay.kernel.paths import Pair, Phase, Word

from .pairs import Net, World

BOTH = (Phase.DIRECT, Phase.DIRECT)
NEITHER = (Phase.RELAYED, Phase.RELAYED)
KINDS = ("lan", "declared", "seen")
EVENTS = (
    *("restart 0", "restart 1", "kill 0", "kill 1", "start 0", "start 1"),
    *("direct", "relay", "loss", "calm", "none", "lan", "seen"),
)
subsets = st.sets(st.sampled_from(KINDS)).map(frozenset)


@given(subsets.filter(bool), st.integers(1, 6), st.integers(0, 9))
@settings(deadline=None, max_examples=20)
def test_what_works_is_found_and_both_change_within_one_way(
    works: frozenset[str], delay: int, seed: int
) -> None:
    world = World(Net(works, delay=delay), KINDS, seed)
    world.run(3 * 3.5 + 1)
    assert world.phases == BOTH
    assert world.longest_split_s <= delay * 0.05 + 0.3
    assert world.sides[0].kind == next(kind for kind in KINDS if kind in works)
    world.run(15)
    assert world.phases == BOTH


def test_a_pair_that_cannot_is_tried_more_and_more_seldom_and_never_changes() -> None:
    world = World(Net(frozenset()), KINDS)
    world.run(1500, until=lambda: Phase.DIRECT in world.phases)
    assert world.now > 1500
    assert world.dark_s == 0
    assert 4 <= world.sides[0].trials <= 9
    # With another endpoint it is tried at once.
    before = world.sides[0].trials
    world.known = ("elsewhere",)
    world.net.works = frozenset({"seen"})
    world.run(15)
    assert world.phases == BOTH
    assert world.sides[0].trials == before + 1


def test_a_path_for_small_packets_only_is_never_used() -> None:
    world = World(Net(frozenset({"lan"}), large_up=False), KINDS)
    world.run(120)
    assert world.phases == NEITHER
    assert world.dark_s == 0


def test_who_nobody_has_traffic_with_is_not_tried() -> None:
    world = World(Net(frozenset(KINDS)), KINDS)
    for side in world.sides:
        side.pair = Pair(side.pair.leads)
    world.run(60)
    assert world.phases == NEITHER
    assert world.sides[0].trials == 0
    # It is enough when the one that follows wants it.
    world.sides[1].pair = Pair(False, wants=True)
    world.run(5)
    assert world.phases == BOTH


@pytest.mark.parametrize("relay_up", [True, False])
def test_a_direct_path_that_dies_is_left_by_both(relay_up: bool) -> None:
    world = World(Net(frozenset({"lan"})), KINDS)
    world.run(10)
    assert world.phases == BOTH
    world.dark_s = 0.0
    world.net.direct_up = False
    world.net.relay_up = relay_up  # without it, each finds out by itself
    world.run(2, until=lambda: world.phases == NEITHER)
    assert world.phases == NEITHER
    assert world.dark_s <= 1.3
    # It is back soon after the path is, and has to hold before it counts as good.
    world.net.direct_up = world.net.relay_up = True
    world.run(25)
    assert world.phases == BOTH


def test_a_path_that_dies_again_and_again_is_used_more_and_more_seldom() -> None:
    world = World(Net(frozenset({"lan"})), KINDS)
    for _ in range(200):
        world.run(3)
        world.net.direct_up = world.phases != BOTH
    assert world.sides[0].trials <= 10


def test_one_large_packet_that_is_lost_is_no_end_and_three_are() -> None:
    world = World(Net(frozenset({"lan"})), KINDS)
    world.run(10)
    world.net.large_up = False
    world.run(2.0)
    assert world.phases == BOTH
    world.run(10)
    assert world.phases == NEITHER


@given(
    st.lists(
        st.tuples(
            st.floats(0.05, 6),
            st.sampled_from(EVENTS),
        ),
        max_size=25,
    ),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_whatever_happens_both_agree_in_the_end(story: list[tuple[float, str]], seed: int) -> None:
    world = World(Net(frozenset({"lan"})), KINDS, seed)
    for seconds, what in story:
        world.run(seconds)
        if all(side.alive for side in world.sides):
            assert world.longest_split_s <= 4.0
        _happen(world, what)
        if not all(side.alive for side in world.sides) or "start" in what:
            world.split_s = world.longest_split_s = 0.0
    world.net.loss, world.net.relay_up, world.net.direct_up = 0.0, True, True
    world.net.works = frozenset({"lan"})
    for side in world.sides:
        side.alive = True
    world.split_s = world.longest_split_s = 0.0
    world.run(5)
    assert world.longest_split_s <= 4.0
    world.run(700, until=lambda: world.phases == BOTH)
    assert world.phases == BOTH


def _happen(world: World, what: str) -> None:
    word, _, number = what.partition(" ")
    side = world.sides[int(number or 0)]
    if word == "restart" and side.alive:
        side.restart(world.now)
    elif word == "kill":
        side.alive = False
    elif word == "start" and not side.alive:
        side.alive = True
        side.restart(world.now)
    elif word == "direct":
        world.net.direct_up = not world.net.direct_up
    elif word == "relay":
        world.net.relay_up = not world.net.relay_up
    elif word in ("loss", "calm"):
        world.net.loss = 0.3 if word == "loss" else 0.0
    elif word in ("none", "lan", "seen"):
        world.net.works = frozenset({word} - {"none"})


def test_a_leader_that_dies_before_it_changes_is_not_followed() -> None:
    world = World(Net(frozenset({"lan"})), KINDS)
    world.run(10, until=lambda: world.phases[1] is Phase.DIRECT)
    assert world.phases == (Phase.TRYING, Phase.DIRECT)
    world.sides[0].alive = False
    world.run(2)
    assert world.phases[1] is Phase.RELAYED
    # One that dies later changes nothing: the path answers by itself.
    world.sides[0].alive = True
    world.sides[0].restart(world.now)
    world.run(60, until=lambda: world.phases == BOTH)
    world.run(2)
    world.sides[0].alive = False
    world.run(60)
    assert world.phases == BOTH


def test_words_that_come_late_change_nothing() -> None:
    follower = Pair(False, Phase.DIRECT, attempt=5, since=1.0, confirmed=True)
    for word in (
        Word(Phase.RELAYED, 4),
        Word(Phase.TRYING, 4, "seen"),
        Word(Phase.TRYING, 5, "lan", proven=True),
    ):
        assert paths.heard(follower, word, 9.0).phase is Phase.DIRECT
    assert paths.heard(follower, Word(Phase.RELAYED, 5), 9.0).phase is Phase.RELAYED
    leader = Pair(True, Phase.RELAYED, attempt=5, since=1.0)
    assert paths.heard(leader, Word(Phase.DIRECT, 5), 9.0).phase is Phase.RELAYED


def test_an_agent_that_was_started_anew_keeps_what_is_direct_and_learns_its_number() -> None:
    pair = paths.adopted(leads=True, now=3.0)
    assert pair.phase is Phase.DIRECT
    pair = paths.heard(pair, Word(Phase.DIRECT, 7), 4.0)
    assert (pair.phase, pair.attempt) == (Phase.DIRECT, 7)
    assert paths.heard(pair, Word(Phase.RELAYED, 7), 5.0).phase is Phase.RELAYED
