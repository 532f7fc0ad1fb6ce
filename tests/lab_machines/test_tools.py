"""What `lab up` installs by itself on a machine that lacks it, and when it says so instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines import emulation, tools
from oakctl.lab.machines.shell import Shell


class Machine(Shell):
    """Lacks programs until its apt-get has installed them; `broken` fails as a command there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lacks: set[str], broken: str = "") -> None:
        super().__init__("machines-x")
        self.lacks = set(lacks)
        self.ran: list[list[str]] = []
        self._broken = broken
        monkeypatch.setattr(tools, "_has", lambda program: program not in self.lacks)
        monkeypatch.setattr(tools, "KEYRING", Path("/"))
        monkeypatch.setattr(
            emulation, "interpreter", lambda each: None if "qemu" in self.lacks else "/qemu"
        )

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout_s: float = 0.0,
        more: Mapping[str, str] | None = None,
    ) -> str:
        words = [word for word in argv[1:] if not word.startswith("-") and "::" not in word]
        self.ran.append(words)
        if words[0] == self._broken:
            raise OakError(f"apt-get {words[0]} failed", details=(f"E: {words[0]}",))
        if words[0] == "install":
            self.lacks.clear()
        return ""


async def test_what_is_missing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {"systemd-nspawn", "debootstrap", "qemu"})
    said: list[str] = []

    await tools.install(machine, [emulation.AARCH64], said.append)

    packages = ["debootstrap", "qemu-user-static", "systemd-container"]
    assert machine.ran == [["update"], ["install", *packages]]
    assert said == [f"installing Debian packages that the lab needs: {' '.join(packages)}"]
    machine.ran.clear()
    await tools.install(machine, [emulation.AARCH64], said.append)
    assert machine.ran == []


async def test_an_emulator_is_not_asked_for_where_nothing_is_emulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {"qemu"})
    await tools.install(machine, [], lambda line: None)
    assert machine.ran == []


async def test_a_list_that_cannot_be_had_does_not_keep_the_packages_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {"nft"}, broken="update")
    said: list[str] = []
    await tools.install(machine, [], said.append)
    assert machine.ran[-1] == ["install", "nftables"]
    assert said[-1] == "apt-get update failed"


async def test_what_cannot_be_installed_is_said_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {"nft"}, broken="install")
    with pytest.raises(OakError) as failed:
        await tools.install(machine, [], lambda line: None)
    assert failed.value.hint == "apt-get install nftables"
    assert failed.value.details == ("E: install",)
    other = Machine(monkeypatch, {"nft", "apt-get"})
    with pytest.raises(OakError, match="lacks nftables and has no apt-get"):
        await tools.install(other, [], lambda line: None)
    assert other.ran == []
