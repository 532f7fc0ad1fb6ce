"""Commands against a real root process that has no cluster yet."""

from __future__ import annotations

import json

import yaml

from .conftest import Oakctl

HELLO = """
sla_version: v2.0
customerID: ""
applications:
  - applicationID: ""
    application_name: hello
    application_namespace: demo
    application_desc: says hello
    microservices:
      - microserviceID: ""
        microservice_name: Web
        microservice_namespace: demo
        virtualization: container
        code: docker.io/library/nginx:latest
        vcpus: 1
        memory: 32
"""


def test_status_and_empty_lists(with_root: Oakctl) -> None:
    status = with_root("status", "-o", "json")
    assert json.loads(status.out)["clusters"] == 0
    for noun in ("host", "cluster", "worker", "app", "service", "instance", "lab"):
        ended = with_root(noun, "ls", "-o", "json")
        assert (ended.code, json.loads(ended.out)) == (0, [])


def test_hosts_are_named_listed_and_forgotten(with_root: Oakctl) -> None:
    added = with_root("host", "add", "pi-1", "pi@192.0.2.7:2222", "--jump", "me@gate")
    assert (added.code, added.out, added.err) == (0, "", "host pi-1 is known\n")
    (host,) = json.loads(with_root("host", "ls", "-o", "json").out)
    assert (host["address"], host["port"], host["user"], host["jump"]) == (
        "192.0.2.7",
        2222,
        "pi",
        ["me@gate"],
    )
    assert with_root("host", "ls", "-o", "name").out == "pi-1\n"
    assert with_root("host", "forget", "pi-1").code == 2
    assert with_root("host", "rm", "pi-1", "--yes").code == 0
    assert with_root("host", "ls").out == ""


def test_what_is_not_there_is_3_with_the_next_command(with_root: Oakctl) -> None:
    for noun in ("cluster", "worker", "app", "service", "instance"):
        ended = with_root(noun, "show", "nothing")
        assert ended.code == 3, noun
        assert ended.out == ""
        assert f"hint: oakctl {noun} ls" in ended.err
    assert with_root("explain", "nothing").code == 3
    assert with_root("instance", "logs", "nothing").code == 3


def test_application_from_apply_to_delete(with_root: Oakctl) -> None:
    applied = with_root("app", "apply", "-f", "-", "--timeout", "1s", stdin=HELLO)
    assert applied.code == 5
    assert applied.out == ""
    assert "hello.demo accepted" in applied.err
    assert "hint: oakctl explain hello.demo.Web.demo" in applied.err

    again = with_root("app", "apply", "-f", "-", "--no-wait", stdin=HELLO)
    assert (again.code, again.out) == (0, "")
    assert "hello.demo is unchanged" in again.err

    shown = yaml.safe_load(with_root("app", "show", "hello.demo", "-o", "yaml").out)
    assert [service["name"] for service in shown["services"]] == ["Web"]
    assert with_root("service", "ls", "-o", "name").out == "hello.demo.Web.demo\n"
    assert "Web" in with_root("service", "show", "Web").out
    (instance,) = json.loads(with_root("instance", "ls", "-o", "json").out)
    assert instance["state"] == "REQUESTED"

    scaled = with_root("service", "scale", "Web", "2")
    assert (scaled.code, scaled.err) == (0, "Web: 2 wanted\n")
    assert len(with_root("instance", "ls", "-o", "name").out.splitlines()) == 2
    explained = with_root("explain", "Web")
    assert explained.code == 0
    assert explained.out.startswith("hello.demo.Web.demo: ")

    events = with_root("event", "ls", "-o", "json")
    assert {event["kind"] for event in json.loads(events.out)}

    deleted = with_root("app", "rm", "hello.demo", "--yes")
    assert deleted.code == 0
    assert deleted.err.endswith("application hello.demo is gone\n")
    assert with_root("app", "ls").out == ""


def test_refused_descriptor_changes_nothing(with_root: Oakctl) -> None:
    refused = with_root("app", "apply", "-f", "-", stdin=HELLO.replace("vcpus: 1", "vcpus: -1"))
    assert refused.code != 0
    assert "applications[0].microservices[0].vcpus" in refused.err
    assert with_root("app", "ls", "-o", "json").out == "[]\n"
