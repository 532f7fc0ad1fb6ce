"""Looking at hosts through the root, and what becomes of a password for sudo."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl import paths
from oakctl.errors import NotFound, Unreachable
from oakctl.model.requests import HostCheckRequest, SudoPassword
from oakctl.model.views import HostView
from oakctl.orchestration.root.passwords import KEPT_S, Passwords
from tests.root.stage import Stage

SECRET = "a-password-for-sudo"


def test_a_password_is_forgotten_when_it_has_not_been_used_for_long() -> None:
    now = [0.0]
    passwords = Passwords(lambda: now[0])
    passwords.give("pi", SECRET)
    now[0] = KEPT_S - 1
    assert passwords.of("pi") == SECRET
    now[0] += KEPT_S - 1
    assert passwords.of("pi") == SECRET
    now[0] += KEPT_S
    assert passwords.of("pi") == ""
    passwords.give("pi", SECRET)
    passwords.forget("pi")
    assert passwords.of("pi") == ""


def test_a_password_is_never_shown() -> None:
    passwords = Passwords()
    passwords.give("pi", SECRET)
    assert SECRET not in repr(passwords) + repr(SudoPassword(SECRET))


async def test_hosts_are_looked_at_together(stage: Stage) -> None:
    async with stage.root() as root:
        for name in ("h1", "h2"):
            await root.put_host(HostView(name, "127.0.0.1"))
        found = await root.check_hosts(HostCheckRequest())
        assert found.looked_at == ("h1", "h2")
        assert {finding.host for finding in found.findings} == {"h1", "h2"}
        stage.installer.fail = Unreachable("h1 does not answer", hint="switch it on")
        silent = await root.check_hosts(HostCheckRequest(("h1",)))
        assert [(f.severity, f.topic, f.remedy) for f in silent.findings] == [
            ("block", "ssh", "switch it on")
        ]
        with pytest.raises(NotFound):
            await root.check_hosts(HostCheckRequest(("nobody",)))


async def test_the_others_try_to_reach_the_orchestrator(stage: Stage) -> None:
    async with stage.root() as root:
        for name in ("hub", "h1", "h2"):
            await root.put_host(HostView(name, "127.0.0.1"))
        found = await root.check_hosts(HostCheckRequest(("h1",), orchestrator="hub"))
        assert found.looked_at == ("hub", "h1")
        reach = [(f.host, f.message) for f in found.findings if f.topic == "reach"]
        assert reach == [("h1", "not hub")]
        every = await root.check_hosts(HostCheckRequest(orchestrator="hub"))
        assert sorted(f.host for f in every.findings if f.topic == "reach") == ["h1", "h2"]
        with pytest.raises(NotFound):
            await root.check_hosts(HostCheckRequest(("h1",), orchestrator="nobody"))


async def test_an_orchestrator_that_does_not_answer_is_not_tried(stage: Stage) -> None:
    async with stage.root() as root:
        for name in ("hub", "h1"):
            await root.put_host(HostView(name, "127.0.0.1"))
        stage.installer.fail = Unreachable("it does not answer")
        found = await root.check_hosts(HostCheckRequest(("h1",), orchestrator="hub"))
    assert {f.topic for f in found.findings} == {"ssh"}
    assert ("reach", "hub") not in stage.installer.calls


async def test_a_password_is_written_nowhere(stage: Stage) -> None:
    async with stage.root() as root:
        await root.put_host(HostView("h1", "127.0.0.1"))
        await root.give_password("h1", SECRET)
    for file in Path(paths.state_directory()).rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
