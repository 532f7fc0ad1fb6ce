"""Files that are wrong as files: each a clean finding, never a traceback."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl import sla

from .build import application, descriptor, service

MINIMAL = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: shop
    application_namespace: prod
    microservices:
      - microservice_name: web
        microservice_namespace: prod
        virtualization: container
        code: nginx
"""


def faults(text: str | bytes) -> str:
    found = sla.parse(text)
    assert not found.ok
    return "\n".join(str(finding) for finding in found.errors)


def test_yaml_and_json_mean_the_same() -> None:
    as_json = json.dumps(
        descriptor(application(service(code="nginx", port="8080:22", microserviceID=None)))
    )
    as_yaml = MINIMAL + "        port: 8080:22\n"
    assert sla.parse(as_yaml).descriptor == sla.parse(as_json).descriptor
    assert sla.parse(as_yaml).ok


@pytest.mark.parametrize(
    ("written", "read"),
    [("no", "no"), ("2024-01-01", "2024-01-01"), ('"12"', "12"), ("~x", "~x"), ("1.2.3", "1.2.3")],
)
def test_yaml_words_stay_words(written: str, read: str) -> None:
    found = sla.parse(MINIMAL + f"        state: {written}\n")
    assert found.descriptor is not None
    assert found.descriptor.applications[0].microservices[0].state == read


@pytest.mark.parametrize(
    ("written", "amount"), [("12", 12), ("0x10", 16), ("0o17", 15), ("1e2", 100), ("010", 10)]
)
def test_yaml_numbers(written: str, amount: int) -> None:
    found = sla.parse(MINIMAL + f"        memory: {written}\n")
    assert found.descriptor is not None
    assert found.descriptor.applications[0].microservices[0].memory == amount


def test_yaml_anchors_and_merges_are_unfolded() -> None:
    text = MINIMAL.replace("      - micro", "      - &web\n        micro") + (
        "      - <<: *web\n        microservice_name: copy\n"
    )
    found = sla.parse(text)
    assert found.descriptor is not None
    names = [s.microservice_name for s in found.descriptor.applications[0].microservices]
    assert names == ["web", "copy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n  \n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        (b"\xff\xfe{}", "the file is not UTF-8: byte 0 is 0xff"),
        ("[]", "[] is not an object with applications"),
        ("just words", "'just words' is not an object"),
        ("{", "not JSON: line 1, column 2"),
        ('{"a": 1,}', "not JSON: line 1"),
        ("a: [1", "not YAML: line 1"),
        ("a: 'b", "not YAML: line 1"),
        ("a: 1\n--- \nb: 2", "not YAML"),
        ("a: *nowhere", "undefined alias 'nowhere'"),
        ("a: !!python/object:os.system x", "python/object:os.system is not understood"),
        ("? [a]\n: 1", "a key has to be a word"),
        ("a: {<<: 1}", "<< has to name a mapping"),
        ("a: \x01", "not YAML"),
        ("[" * 100_000, "nested deeper than 40 levels"),
        ("a: " + "[" * 20_000, "nested deeper than 40 levels"),
        ("&a [*a]", "nested deeper than 40 levels"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "nested deeper than 40 levels"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("a" * (5 * 1024 * 1024), "more than 4 MiB"),
    ],
)
def test_broken_files(text: str | bytes, message: str) -> None:
    assert message in faults(text)


def test_an_alias_bomb_is_refused_without_being_unfolded() -> None:
    lines = ['a0: &a0 ["x","x","x","x","x","x","x","x","x"]']
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert "more than 100000 values" in faults("\n".join(lines))


def test_keys_given_twice_are_faults_in_both_languages() -> None:
    assert "sla_version: is given twice" in faults('{"sla_version": "v2.0", "sla_version": ""}')
    text = json.dumps(descriptor(application(service())))
    text = text.replace('"code":', '"code": "a", "code":')
    assert "applications[0].microservices[0].code: is given twice" in faults(text)
    assert "[0].code: is given twice" in faults(MINIMAL + "        code: again\n")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_numbers_that_are_none(number: str) -> None:
    text = json.dumps(descriptor(application(service(oakctl={"vcpus": "?"}))))
    found = faults(text.replace('"?"', number))
    assert "applications[0].microservices[0].oakctl.vcpus: " in found
    assert "is not a number" in found


@pytest.mark.parametrize("number", [".nan", ".inf", "-.INF"])
def test_yaml_numbers_that_are_none(number: str) -> None:
    assert "memory: " in faults(MINIMAL + f"        memory: {number}\n")


def test_text_that_no_process_can_be_given() -> None:
    text = json.dumps(descriptor(application(service(cmd=["a\x00b", "\ud800"]))))
    found = faults(text)
    assert "cmd[0]: 'a\\x00b' holds characters that are not valid text" in found
    assert "cmd[1]: '\\ud800' holds characters that are not valid text" in found


@given(st.text() | st.binary())
def test_nothing_raises(text: str | bytes) -> None:
    sla.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.data())
def test_a_wrong_value_anywhere_is_a_finding_with_a_path(data: st.DataObject) -> None:
    """Any key of a full descriptor may hold anything; the answer is findings."""
    tree = descriptor(
        application(
            service(
                port="80:80",
                environment=["A=1"],
                connectivity=[{"target_microservice_id": "web", "con_constraints": []}],
                constraints=[{"type": "latency", "area": "x", "threshold": 1}],
                addresses={"rr_ip": "10.30.1.1"},
                oakctl={
                    "ready": {"tcp": 1},
                    "listen": ["1/udp"],
                    "autoscale": {"max": 3, "target": {"cpu": 50}},
                },
            )
        )
    )
    holder = data.draw(st.sampled_from(_containers(tree)))
    key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else [0]))
    holder[key] = data.draw(JSON)
    sla.parse(json.dumps(tree))


def _containers(value: object) -> list:  # type: ignore[type-arg]
    if isinstance(value, dict):
        return [value, *(found for child in value.values() for found in _containers(child))]
    if isinstance(value, list) and value:
        return [value, *(found for child in value for found in _containers(child))]
    return []
