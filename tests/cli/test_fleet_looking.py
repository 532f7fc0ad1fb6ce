"""What is asked of a person: each question once, and nothing where nobody is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oakctl.cli import diagnostics, fleet_looking
from oakctl.fleet.state import Wanted
from oakctl.model.requests import LookRequest
from oakctl.model.views import FleetLook, HostCheck, HostPlan, HostView

HOSTS = (
    HostView("a", "10.0.0.1", user="pi"),
    HostView("b", "10.0.0.2", user="pi"),
    HostView("c", "10.0.0.3", user="admin"),
    HostView("d", "10.0.0.4", user="pi"),
)


@dataclass
class Root:
    """Hosts that want a password, or have a key that is not known."""

    passwords: dict[str, str]
    unknown: set[str] = field(default_factory=set)
    given: dict[str, str] = field(default_factory=dict)
    looks: int = 0

    async def hosts(self) -> tuple[HostView, ...]:
        return ()

    async def clusters(self) -> tuple[()]:
        return ()

    async def workers(self) -> tuple[()]:
        return ()

    async def give_password(self, host: str, password: str) -> None:
        self.given[host] = password

    async def look(self, request: LookRequest) -> FleetLook:
        self.looks += 1
        plans = tuple(
            HostPlan(p.host, fault=f"{p.host}: its key is not known", details=("SHA256:x",))
            if p.host in self.unknown and not p.accept_new
            else HostPlan(p.host)
            for p in request.plans
        )
        asking = [n for n, word in self.passwords.items() if self.given.get(n) != word]
        names = tuple(plan.host for plan in request.plans)
        return FleetLook(plans, HostCheck(names, (), tuple(asking)), "new")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions of a terminal where yes is the answer, and the login user the password."""
    told: list[str] = []

    def password(host: str) -> str:
        told.append(host)
        return "secret" if "c" not in host.split(", ") else "other"

    monkeypatch.setattr(diagnostics, "can_prompt", lambda: True)
    monkeypatch.setattr(diagnostics, "ask_password", password)
    monkeypatch.setattr(diagnostics, "ask", lambda question: told.append(question) or True)
    return told


async def look(root: Root, file: Path | None = None) -> Any:
    return await fleet_looking.look(
        root,  # type: ignore[arg-type]
        Wanted(HOSTS),
        accept_new=False,
        sudo_password_file=file,
    )


async def test_a_password_is_asked_for_once_for_each_login_user(asked: list[str]) -> None:
    root = Root({"a": "secret", "b": "secret", "c": "other"})
    assert (await look(root)).asks_password == ()
    assert asked == ["a, b", "c"]
    assert root.given == {"a": "secret", "b": "secret", "c": "other"}
    assert root.looks == 2


async def test_where_it_was_wrong_it_is_asked_for_once_more(asked: list[str]) -> None:
    root = Root({"a": "secret", "b": "else"})
    assert (await look(root)).asks_password == ("b",)
    assert asked == ["a, b", "b"]


async def test_keys_are_trusted_together(asked: list[str]) -> None:
    root = Root({}, unknown={"a", "c"})
    seen = await look(root)
    assert asked == ["Trust these hosts from now on?"]
    assert all(check.fault is None for check in seen.checks.values())


async def test_nobody_there_is_asked_nothing_and_a_file_is_read(tmp_path: Path) -> None:
    root = Root({"a": "secret"}, unknown={"b"})
    seen = await look(root)
    assert (seen.asks_password, root.looks) == (("a",), 1)
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert (await look(root, file)).asks_password == ()
    assert set(root.given) == {"a", "b", "c", "d"}
