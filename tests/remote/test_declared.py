"""What a host declares of itself is taken whole or refused with its name."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.model.resources import Location, Resources
from oakctl.remote.declared import DECLARED, LOCATION, declared_location, declared_resources
from oakctl.remote.facts import HostFacts


def resources(text: str) -> Resources:
    return declared_resources(HostFacts(environment={DECLARED: text}))


def location(text: str) -> Location | None:
    return declared_location(HostFacts(environment={LOCATION: text}))


def test_nothing_declared() -> None:
    assert declared_resources(HostFacts()) == Resources()
    assert declared_location(HostFacts()) is None


def test_what_a_lab_declares() -> None:
    told = json.dumps({"vcpus": 0.5, "memory_mb": 1024, "vgpus": 1, "unknown": "later"})
    assert resources(told) == Resources(vcpus=0.5, memory_mb=1024, vgpus=1)
    assert location("48.26,11.67") == Location(48.26, 11.67)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "null", "7", '{"vcpus": "4"}', '{"vcpus": -1}', '{"memory_mb": 1.5}',
     '{"vgpus": true}', '{"vcpus": NaN}', '{"vcpus": 1e300}', "[" * 100_000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(OakError, match=DECLARED) as caught:
        resources(text)
    assert len(caught.value.message) < 500
    assert caught.value.hint


@pytest.mark.parametrize("text", ["x", "1", "1,2,3", "91,0", "0,181", "nan,0", "inf,0", ","])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(OakError, match=LOCATION):
        location(text)


@given(st.text(max_size=100))
def test_anything_else_is_refused_in_words(text: str) -> None:
    for read in (resources, location):
        hint, told = "it was read", None
        try:
            told = read(text)
        except OakError as error:
            hint = error.hint
        assert hint
        if isinstance(told, Resources):
            assert math.isfinite(told.vcpus)
