"""Rules for roots: what is refused names its rule, and nothing passes that a rule does not name."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.images import PlatformImage
from oakctl.model.resources import Resources
from oakctl.model.roots import RootRules, is_name
from oakctl.model.service import ServiceSpec, Volume
from oakctl.orchestration.scheduling import admission
from tests.scheduling.samples import service

words = st.text("abcxyz", min_size=1, max_size=6)
globs = st.text("abcxyz*", min_size=1, max_size=6)


def container(code: str = "registry.example/rob/web:1", **changes: Any) -> ServiceSpec:
    given = {"job_name": "app.prod.web.prod", "virtualization": "container", "code": code}
    return replace(service(), **(given | changes))


@given(words, st.lists(globs, max_size=3))
def test_a_namespace_needs_one_glob_that_names_it(namespace: str, allowed: list[str]) -> None:
    spec = container(job_name=f"app.{namespace}.web.other")
    found = admission.objections("rob", RootRules(namespaces=tuple(allowed)), spec)
    named = any(fnmatchcase(namespace, glob) for glob in allowed)
    listed = ", ".join(allowed) or "none"
    refusal = f"admission: namespace '{namespace}' is not among rob's: {listed}"
    assert found == (() if named else (refusal,))


@pytest.mark.parametrize(
    ("code", "pattern", "fits"),
    [
        ("registry.example/rob/web:1", "registry.example/rob", True),
        ("registry.example/rob/web:1", "registry.example/rob/", True),
        ("registry.example/rob/web:1", "registry.example/rob/*", True),
        ("registry.example/robber/web:1", "registry.example/rob", False),
        ("registry.example.evil/rob/web", "registry.example", False),
        ("registry.example/rob@sha256:00", "registry.example/rob", True),
        ("web:1", "docker.io/library/*", True),
        ("docker.io/web:1", "docker.io/library/*", True),
        ("index.docker.io/a/web", "docker.io/a", True),
        ("a/web", "docker.io/a", True),
        ("web:1", "registry.example/*", False),
        ("localhost:5000/web", "localhost:5000", True),
        ("pushed:5000/web", "pushed:*", False),
    ],
)
def test_an_image_is_compared_with_its_registry(code: str, pattern: str, fits: bool) -> None:
    found = admission.objections("rob", RootRules(images=(pattern,)), container(code))
    assert (found == ()) is fits


def test_what_a_root_brings_itself_is_not_from_a_registry() -> None:
    image = PlatformImage("linux/amd64", "0" * 64, 100, ())
    pushed = container("registry.example/rob/web:1", images=(image,))
    program = container("ab" * 32, virtualization="process")
    for rules in (("registry.example/rob/*",), ("*",)):
        for spec in (pushed, program):
            assert admission.objections("rob", RootRules(images=rules), spec)
    assert not admission.objections("rob", RootRules(images=("pushed:*",)), pushed)
    assert not admission.objections("rob", RootRules(images=("artifact:*",)), program)


def test_runtimes_and_what_a_container_asks_of_a_host() -> None:
    rules = RootRules(runtimes=("container",), privileged=False, grants=False)
    assert not admission.objections("rob", rules, container())
    for spec, rule in (
        (container(virtualization="process"), "runtime 'process'"),
        (container(privileged=True), "(privileged)"),
        (container(capabilities=("NET_ADMIN",)), "(grants)"),
        (container(devices=("/dev/ttyUSB0",)), "(grants)"),
        (container(volumes=(Volume("/srv", "/srv", read_only=True),)), "(grants)"),
    ):
        (refusal,) = admission.objections("rob", rules, spec)
        assert refusal.startswith("admission: ")
        assert rule in refusal
    assert not admission.objections("rob", rules, container(volumes=(Volume("data", "/srv"),)))


amounts = st.floats(0.01, 8)


@given(st.floats(0, 1), amounts, st.floats(0, 8), st.floats(0, 16))
def test_a_share_of_the_cores_is_never_exceeded(
    share: float, asked: float, used: float, has: float
) -> None:
    rules = RootRules(cpu_share=share)
    want, have, capacity = Resources(vcpus=asked), Resources(vcpus=used), Resources(vcpus=has)
    found = admission.excess("rob", rules, want, have, capacity)
    assert bool(found) is (used + asked > share * has + 1e-6)
    assert all("cpu_share" in text for text in found)


@given(st.integers(1, 4096), st.integers(0, 4096), st.integers(0, 4096))
def test_the_smaller_of_share_and_amount_counts(asked: int, most: int, has: int) -> None:
    rules = RootRules(memory_share=0.5, memory_mb=most)
    want, capacity = Resources(memory_mb=asked), Resources(memory_mb=has)
    found = admission.excess("rob", rules, want, Resources(), capacity)
    assert bool(found) is (asked > min(most, has / 2) + 1e-6)


def test_no_service_without_a_limit_goes_around_a_share() -> None:
    spec = container(requests=Resources(memory_mb=10))
    (refusal,) = admission.objections("rob", RootRules(cpu_share=0.5), spec)
    assert refusal == (
        "admission: a service without a limit of vcpus is not allowed to rob (cpu_share 0.5)"
    )
    assert not admission.objections("rob", RootRules(memory_mb=5), spec)


def test_the_file_as_its_operator_writes_it() -> None:
    text = """
    # Rob may use half of the cores.
    {"roots": {
      "rob": {"namespaces": ["prod-*"], "images": ["registry.example/rob"], "cpu_share": 0.5},
      # nobody else
      "*": {"namespaces": []},
      "root": {"memory_mb": 1024, "privileged": false}
    }}
    """
    rules = admission.read(text)
    assert rules["rob"] == RootRules(
        namespaces=("prod-*",), images=("registry.example/rob",), cpu_share=0.5
    )
    assert rules["*"].namespaces == ()
    assert rules["root"] == RootRules(memory_mb=1024, privileged=False)
    assert admission.read("# nothing\n\n") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1"),
        ("[]", "has to be"),
        ('{"root": {}}', "'root' is no rule"),
        ('{"roots": {"rob": {"namespace": ["a"]}}}', "'namespace' is no rule"),
        ('{"roots": {"rob": {"namespaces": "a"}}}', "a list of texts"),
        ('{"roots": {"rob": {"cpu_share": 2}}}', "1 at most"),
        ('{"roots": {"rob": {"cpu_share": true}}}', "a number"),
        ('{"roots": {"rob": {"vcpus": NaN}}}', "a number"),
        ('{"roots": {"rob": {"privileged": "no"}}}', "true or false"),
        ('{"roots": {"Rob X": {}}}', "no name of a root"),
        ('{"roots": {"rob": {}, "rob": {}}}', "twice"),
        ("[" * 100_000, "nested"),
    ],
)
def test_a_broken_file_is_told_where_and_why(text: str, why: str) -> None:
    with pytest.raises(admission.BadRules, match=why):
        admission.read(text)


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        found = admission.read(text)
    except admission.BadRules:
        return
    assert found == {} or all(found)


def test_a_name_stands_in_subjects_and_job_names() -> None:
    assert is_name("rob")
    for name in ("", "root", "*", "rob.x", "rob-x", "rob_x", "Rob", "a" * 31):
        assert not is_name(name)
