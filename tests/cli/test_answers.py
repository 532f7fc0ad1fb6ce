"""Which errors are questions, and how often each is asked."""

from __future__ import annotations

from typing import Any

import pytest

from oakctl.cli import answers, diagnostics
from oakctl.cli.answers import Answers
from oakctl.errors import OakError
from oakctl.model.hosts import HostKey, HostReach, Machine

LOCKED = "pi-1: the key /id is protected by a passphrase and no agent holds it"
HOP = "host key of gate, the jump host of pi-1 (10.0.0.1:22) is not known: ssh-ed25519 SHA256:abc"


class Root:
    """Knows one passphrase, one key; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.access = self

    async def give_password(self, host: str, password: str) -> None:
        self.told.append(("password", host, password))

    async def reach(self, host: str) -> HostReach:
        return HostReach(host, (Machine(host, "10.0.0.1", 22, "pi", locked=("/id", "/other")),))

    async def unlock(self, file: str, passphrase: str) -> None:
        if passphrase != "right":
            raise OakError(f"the passphrase does not open {file}")
        self.told.append(("passphrase", file))

    async def key(self, host: str) -> HostKey:
        return HostKey("gate", "10.0.0.1:22", "unknown", "ssh-ed25519 SHA256:abc", "SHA256:abc")

    async def trust(self, host: str, fingerprint: str) -> None:
        self.told.append(("trust", host, fingerprint))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed next, whatever is asked."""
    lines: list[str] = []
    monkeypatch.setattr(diagnostics, "can_prompt", lambda: True)
    monkeypatch.setattr(diagnostics, "ask_passphrase", lambda file: lines.pop(0))
    monkeypatch.setattr(diagnostics, "ask_password", lambda host: lines.pop(0))
    monkeypatch.setattr(diagnostics, "ask", lambda question: lines.pop(0) == "y")
    return lines


def asking(root: Root) -> Answers:
    client: Any = root
    return Answers(client)


async def test_a_passphrase_may_be_wrong_twice(typed: list[str]) -> None:
    root = Root()
    typed += ["wrong", "wrong", "right", "right"]
    assert await asking(root).settle_way(LOCKED)
    assert root.told == [("passphrase", "/id"), ("passphrase", "/other")]
    typed += ["wrong"] * 3
    with pytest.raises(OakError, match="does not open"):
        await answers.unlock(root, "pi-1")  # type: ignore[arg-type]


async def test_one_password_for_all_hosts_and_each_question_once(typed: list[str]) -> None:
    root = Root()
    one = asking(root)
    typed.append("secret")
    for host in ("pi-1", "pi-2"):
        assert await one.settle(host, f"{host}: sudo asks for a password for pi")
    assert root.told == [("password", "pi-1", "secret"), ("password", "pi-2", "secret")]
    assert not await one.settle("pi-1", "pi-1: sudo asks for a password for pi")


async def test_a_jump_hosts_key_is_asked_about_by_itself(typed: list[str]) -> None:
    root = Root()
    typed += ["y", "n"]
    assert await asking(root).settle_way(HOP)
    assert root.told == [("trust", "pi-1", "SHA256:abc")]
    with pytest.raises(OakError, match="not trusted"):
        await asking(root).settle_way(HOP)
    # The host's own is for who began the work.
    own = "host key of pi-1 (10.0.0.1:22) is not known: ssh-ed25519 SHA256:abc"
    assert not await asking(root).settle_way(own)


async def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "can_prompt", lambda: False)
    root = Root()
    assert not await asking(root).settle_way(LOCKED)
    assert root.told == []


@pytest.mark.parametrize(
    ("message", "host"),
    [
        (LOCKED, "pi-1"),
        ("gate, the jump host of pi-1: the key /id is protected by a passphrase", "pi-1"),
        ("pi-1: sudo asks for a password for pi", "pi-1"),
    ],
)
def test_the_host_that_an_error_is_about(message: str, host: str) -> None:
    assert answers.host_of(message) == host
    assert answers.host_behind(HOP) == "pi-1"
