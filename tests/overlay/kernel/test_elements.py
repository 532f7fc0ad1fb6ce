"""What is in the rule set's maps, and how one content becomes another."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel import elements
from oakctl.overlay.kernel.elements import Elements, difference

ADDRESS = st.ip_addresses(v=4, network="10.18.0.0/16").map(str)
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


def test_one_instance_needs_no_choice_and_none_gets_nothing() -> None:
    one = Elements(one={"10.30.1.1": "10.18.0.66"})
    assert elements.leading("10.30.1.1", ("10.18.0.66",) * 60, by_client=True) == one
    assert elements.leading("10.30.1.1", (), by_client=True) == Elements()


def test_several_have_a_place_each_under_its_mark() -> None:
    found = elements.leading("10.30.1.1", tuple(f"10.18.0.{n}" for n in range(60)), by_client=True)
    assert found.slots["10.30.1.1 . 0x6f616b00"] == "10.18.0.0"
    assert found.slots["10.30.1.1 . 0x6f616b3b"] == "10.18.0.59"
    assert (len(found.slots), found.sticky, found.one) == (60, {"10.30.1.1": ""}, {})


def test_places_are_read_off_what_nft_prints() -> None:
    places = tuple(f"10.18.0.{n}" for n in range(60))
    slots = elements.leading("10.30.1.1", places).slots
    lines = [f"{key} : {value}" for key, value in slots.items()]
    printed = "map slots {\n elements = { " + ",\n\t".join(lines) + " }\n}"
    assert elements.places_in(printed) == places
    assert elements.places_in("\n".join(lines[1:])) == ()
    assert all(key in elements.asking("10.30.1.1") for key in slots)
