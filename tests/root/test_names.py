"""Short names: one meaning, or the list of candidates."""

from __future__ import annotations

import pytest

from oakctl.errors import NotFound, UsageError
from oakctl.orchestration.root import names

JOBS = ("ar.demo.Rec.prod", "ar.demo.Obj.prod", "br.demo.Rec.test")


@pytest.mark.parametrize("name", ["Obj", "Obj.prod", "ar.demo.Obj", "ar.demo.Obj.prod"])
def test_forms_of_a_service(name: str) -> None:
    assert names.service(name, JOBS) == "ar.demo.Obj.prod"


def test_ambiguous_names_list_what_they_may_be() -> None:
    with pytest.raises(UsageError) as error:
        names.service("Rec", JOBS)
    assert error.value.details == ("ar.demo.Rec.prod", "br.demo.Rec.test")
    assert names.service("Rec.test", JOBS) == "br.demo.Rec.test"


def test_unknown_names_say_where_to_look() -> None:
    with pytest.raises(NotFound, match="no service 'Pre'") as error:
        names.service("Pre", JOBS)
    assert error.value.hint == "oakctl service ls"


def test_instances_and_applications() -> None:
    known = [f"{job}.instance.{n}" for job in JOBS for n in (0, 1)]
    assert names.instance("Obj.instance.1", known) == "ar.demo.Obj.prod.instance.1"
    assert names.application("ar", ["ar.demo", "br.demo"]) == "ar.demo"


@pytest.mark.parametrize("name", ["", "A", "a_b", "a" * 31, "a/b", "ä"])
def test_names_that_nothing_may_have(name: str) -> None:
    with pytest.raises(UsageError):
        names.check(name, "host")
