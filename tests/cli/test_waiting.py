from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from oakctl.cli import diagnostics, waiting
from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model.hosts import HostKey
from oakctl.model.instance import InstanceState
from oakctl.model.views import InstanceView, OperationView, ServiceView, StepEvent
from tests.tui import fleet

UNKNOWN_KEY = Unreachable(
    "host pi-1: key SHA256:abc is not known", hint="oakctl cluster create … --accept-new"
)

CHANGED_KEY = Unreachable("host pi-1: the key has changed", hint="ssh-keygen …, --accept-new")


class Client:
    """Says what a test prepared; the last answer again and again."""

    def __init__(self, instances: list[list[InstanceView]] | None = None) -> None:
        self.answers = instances or [[]]

    async def instances(self, service: str) -> list[InstanceView]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def see_through(self, number: int, told: Callable[[StepEvent], None]) -> OperationView:
        told(StepEvent(1.0, "pi-1", "bus: start", "running"))
        told(StepEvent(1.0, "pi-1", "bus: start", "done", "", 4.1))
        return operation("done")


def operation(state: str = "running") -> OperationView:
    return OperationView(7, "cluster create", "edge", state, 1.0)


async def test_steps_of_an_operation_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def begin() -> OperationView:
        return operation()

    client: Any = Client()
    view = await waiting.operation(client, "pi-1", begin, wait=True, timeout_s=5)
    assert view.state == "done"
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "pi-1 bus: start done 4.1s\n"


class Access:
    """Shows one key; remembers whether it was trusted."""

    def __init__(self) -> None:
        self.trusted: list[str] = []

    async def key(self, host: str) -> HostKey:
        return HostKey(host, "10.0.0.1:22", "unknown", "ssh-ed25519 SHA256:abc", "SHA256:abc")

    async def trust(self, host: str, fingerprint: str) -> None:
        self.trusted.append(fingerprint)


@pytest.mark.parametrize("answer", [True, False])
async def test_unknown_key_is_shown_and_asked_about_on_a_terminal(
    answer: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = Client()
    client.access = access = Access()
    begun: list[bool] = []

    async def begin() -> OperationView:
        begun.append(bool(access.trusted))
        if not access.trusted:
            raise UNKNOWN_KEY
        return operation()

    monkeypatch.setattr(diagnostics, "can_prompt", lambda: True)
    monkeypatch.setattr(diagnostics, "ask", lambda question: answer)
    call = waiting.operation(client, "pi-1", begin, wait=True, timeout_s=5)
    if answer:
        await call
    else:
        with pytest.raises(OakError, match="not trusted"):
            await call
    assert begun == ([False, True] if answer else [False])
    assert "SHA256:abc" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "terminal"), [(CHANGED_KEY, True), (UNKNOWN_KEY, False)])
async def test_what_cannot_be_answered_is_the_error_with_its_hint(
    error: Unreachable, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that has changed, whoever is there; any, where nobody is."""

    async def begin() -> OperationView:
        raise error

    monkeypatch.setattr(diagnostics, "can_prompt", lambda: terminal)
    client: Any = Client()
    with pytest.raises(Unreachable) as caught:
        await waiting.operation(client, "pi-1", begin, wait=True, timeout_s=5)
    assert caught.value is error


async def test_what_takes_too_long_says_its_last_step_and_goes_on() -> None:
    class Slow(Client):
        async def see_through(
            self, number: int, told: Callable[[StepEvent], None]
        ) -> OperationView:
            told(StepEvent(1.0, "pi-1", "bus: start", "running"))
            await asyncio.Event().wait()
            raise AssertionError

    async def begin() -> OperationView:
        return operation()

    client: Any = Slow()
    with pytest.raises(DeadlineExceeded, match="is not done after") as late:
        await waiting.operation(client, "pi-1", begin, wait=True, timeout_s=0.01)
    assert late.value.details == ("last: pi-1 bus: start running",)


async def test_each_change_of_an_instance_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0)
    creating = fleet.instance("Rec", 0, "edge/w1", state=InstanceState.CREATING)
    running = replace(creating, state=InstanceState.RUNNING, ready=True)
    client: Any = Client([[creating], [creating], [running]])
    services = iter([*[fleet.service("Rec", state="starting", ready=0)] * 2, fleet.service("Rec")])

    async def fetch() -> list[ServiceView]:
        return [next(services)]

    await waiting.until_settled(client, fetch, 5)
    assert capsys.readouterr().err == "Rec.0 creating on edge/w1\nRec.0 running on edge/w1\n"


async def test_timeout_says_what_there_was_last() -> None:
    client: Any = Client()

    async def fetch() -> list[ServiceView]:
        return [fleet.service("Rec", state="pending", ready=0, reason="0 vgpus free")]

    with pytest.raises(DeadlineExceeded) as caught:
        await waiting.until_settled(client, fetch, 0)
    assert caught.value.details == ("Rec: pending, 0 of 1 ready (0 vgpus free)",)
    assert caught.value.hint == "oakctl explain ar.default.Rec.default"


@pytest.mark.parametrize(
    ("state", "running", "wanted", "expected"),
    [
        ("ready", 1, 1, True),
        ("ready", 2, 1, False),
        ("starting", 0, 1, False),
        ("stopped", 0, 0, True),
        ("stopped", 0, 1, False),
    ],
)
def test_settled(state: str, running: int, wanted: int, expected: bool) -> None:
    view = replace(fleet.service("Rec", state=state, wanted=wanted), running=running)
    assert waiting.settled(view) is expected


SUDO_ASKS = OakError("pi-1: sudo asks for a password for anna")


@pytest.mark.parametrize("right", [True, False])
async def test_a_password_for_sudo_is_asked_for_once(
    right: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[tuple[str, str]] = []
    begun: list[bool] = []

    class Root(Client):
        async def give_password(self, host: str, password: str) -> None:
            given.append((host, password))

    async def begin() -> OperationView:
        begun.append(True)
        if not right or not given:
            raise SUDO_ASKS
        return operation()

    monkeypatch.setattr(diagnostics, "can_prompt", lambda: True)
    monkeypatch.setattr(diagnostics, "ask_password", lambda host: "never-shown")
    client: Any = Root()
    call = waiting.operation(client, "pi-1", begin, wait=True, timeout_s=5)
    if right:
        await call
    else:
        with pytest.raises(OakError, match="asks for a password"):
            await call
    assert given == [("pi-1", "never-shown")]
    assert len(begun) == 2
    assert "never-shown" not in capsys.readouterr().err
