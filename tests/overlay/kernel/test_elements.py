"""What is in the rule set's maps, and how one content becomes another."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel import elements
from oakctl.overlay.kernel.elements import Elements, difference

ADDRESS = st.ip_addresses(v=4, network="10.18.0.0/16").map(str)
SOME = st.lists(ADDRESS, min_size=2, max_size=70, unique=True)
CONTENTS = st.fixed_dictionaries(
    {
        "slots": st.dictionaries(st.sampled_from(["s1", "s2", "s3"]), ADDRESS),
        "one": st.dictionaries(st.sampled_from(["o1", "o2"]), ADDRESS),
        "hold": st.dictionaries(st.sampled_from(["h1", "h2"]), st.just("")),
        "ports": st.dictionaries(st.sampled_from(["p1", "p2"]), ADDRESS),
    }
)
COMMAND = re.compile(r"(add|delete) element ip oakctl (\w+) \{ (.*) \}")


def executed(text: str, content: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """What nft makes of the commands: adding what is there, or the reverse, is an error."""
    after = {name: dict(part) for name, part in content.items()}
    for line in text.splitlines():
        found = COMMAND.fullmatch(line)
        assert found is not None
        what, name, items = found.groups()
        for item in items.split(", "):
            key, _, value = item.partition(" : ")
            assert (key in after[name]) == (what == "delete")
            if what == "delete":
                del after[name][key]
            else:
                after[name][key] = value
    return after


@given(CONTENTS, CONTENTS)
def test_the_difference_makes_one_of_the_other(
    old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]
) -> None:
    text = difference(Elements(**old), Elements(**new))
    assert executed(text, old) == new
    assert bool(text) == (old != new)


@given(SOME, st.randoms(use_true_random=False))
def test_instances_share_an_address_evenly_whatever_their_order(targets: list[str], chance) -> None:  # type: ignore[no-untyped-def]
    slots, one = elements.service("10.30.1.1", tuple(targets))
    assert not one
    assert len(slots) == elements.SLOTS
    shares = Counter(slots.values())
    assert max(shares.values()) - min(shares.values()) <= 1
    assert len(shares) == min(len(targets), elements.SLOTS)
    chance.shuffle(targets)
    assert elements.service("10.30.1.1", tuple(targets)) == (slots, one)


def test_one_instance_needs_no_choice_and_none_gets_nothing() -> None:
    assert elements.service("10.30.1.1", ("10.18.0.66",)) == ({}, {"10.30.1.1": "10.18.0.66"})
    assert elements.service("10.30.1.1", ()) == ({}, {})
