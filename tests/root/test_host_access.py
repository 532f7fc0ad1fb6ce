"""Passphrases, ways and keys through the root; commands on hosts that end with their reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import asyncssh
import pytest

from oakctl.errors import NotFound, OakError
from oakctl.model.hosts import HostEnded, HostOutput, HostRun, KeyPassphrase
from oakctl.model.views import HostView
from oakctl.orchestration.root.host_access import HostAccess
from oakctl.orchestration.root.host_runs import HostRuns
from oakctl.orchestration.root.passwords import KEPT_S, Passwords
from oakctl.remote.target import Target
from tests.remote.servers import Machine, Machines

SECRET = "open sesame"
DEADLINE_S = 20.0


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()


async def nobody(name: str) -> HostView:
    raise NotFound(f"there is no host {name}")


async def test_a_passphrase_is_tried_before_it_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "id"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(file, passphrase=SECRET)
    kept = Passwords()
    access = HostAccess(nobody, kept)
    with pytest.raises(OakError, match="does not open"):
        await access.unlock(str(file), "wrong")
    assert kept.of(str(file)) == ""
    await access.unlock(str(file), SECRET)
    assert kept.of(str(file)) == SECRET
    await access.unlock(str(file), "")
    assert kept.of(str(file)) == ""
    with pytest.raises(NotFound):
        await access.unlock(str(tmp_path / "gone"), SECRET)
    (tmp_path / "text").write_text("no key")
    with pytest.raises(OakError):
        await access.unlock(str(tmp_path / "text"), SECRET)
    assert SECRET not in repr(KeyPassphrase(str(file), SECRET)) + repr(access.__dict__)


def test_a_link_that_stands_remembers_what_it_used() -> None:
    now = [0.0]
    passphrases = Passwords(lambda: now[0])
    link = passphrases.kept()
    assert link("/id") == ""
    passphrases.give("/id", SECRET)
    assert link("/id") == SECRET
    now[0] += 10 * KEPT_S
    assert passphrases.of("/id") == ""
    assert link("/id") == SECRET
    passphrases.give("/id", "another")
    assert link("/id") == "another"


def runs(*all_of_them: Machine) -> HostRuns:
    known = {f"pi-{number}": machine for number, machine in enumerate(all_of_them)}

    async def named(wanted: object) -> list[HostView]:
        return [HostView(name, "127.0.0.1") for name in wanted]  # type: ignore[attr-defined]

    @contextmanager
    def target(host: HostView, accept_new: bool) -> Iterator[Target]:
        yield known[host.name].target(name=host.name, accept_new=accept_new)

    return HostRuns(named, target)


def events(there: HostRuns, *command: str, hosts: int = 1) -> AsyncIterator[object]:
    names = tuple(f"pi-{number}" for number in range(hosts))
    return there.run(HostRun(names, command, accept_new=True))


async def test_lines_of_several_hosts_and_how_each_ended(machines: Machines) -> None:
    there = runs(machines.make(noise="echo Welcome; "), machines.make())
    found = [each async for each in events(there, "sh", "-c", "echo a b; exit 3", hosts=2)]
    assert sorted(each.host for each in found if isinstance(each, HostOutput)) == ["pi-0", "pi-1"]
    assert {each.text for each in found if isinstance(each, HostOutput)} == {"a b"}
    assert sorted((e.host, e.exit_code) for e in found if isinstance(e, HostEnded)) == [
        ("pi-0", 3),
        ("pi-1", 3),
    ]


async def test_a_line_comes_before_the_command_has_ended(machines: Machines) -> None:
    there = runs(machines.make())
    async with aclosing(events(there, "sh", "-c", "echo begun; sleep 600")) as lines:  # type: ignore[type-var]
        async for event in lines:
            if event is not None:
                assert event == HostOutput("pi-0", "out", "begun")
                break


async def test_a_command_ends_with_its_reader(machines: Machines) -> None:
    machine = machines.make()
    pid = machine.home / "pid"
    # Much more than is read, so that it is stuck while it tells something.
    script = f"echo $$ >{pid}; yes"
    lines = events(runs(machine), "sh", "-c", script)
    while await anext(lines) is None:
        pass
    await lines.aclose()  # type: ignore[attr-defined]
    await asyncio.to_thread(
        machine.until, lambda: not Path("/proc", pid.read_text().strip()).exists()
    )


async def test_whatever_breaks_on_one_host_its_run_ends(machines: Machines) -> None:
    """Nobody waits for ever for the end of a run that has none."""
    well = machines.make()

    async def named(wanted: object) -> list[HostView]:
        return [HostView(name, "127.0.0.1") for name in wanted]  # type: ignore[attr-defined]

    @contextmanager
    def target(host: HostView, accept_new: bool) -> Iterator[Target]:
        if host.name == "pi-0":
            raise ZeroDivisionError("of ours")
        yield well.target(name=host.name, accept_new=accept_new)

    async with asyncio.timeout(60):
        found = [each async for each in events(HostRuns(named, target), "true", hosts=2)]
    ends = {each.host: each for each in found if isinstance(each, HostEnded)}
    assert ends["pi-0"].exit_code == 1
    assert ends["pi-0"].error == "pi-0: ZeroDivisionError: of ours"
    assert "root.log" in ends["pi-0"].hint
    assert ends["pi-1"].exit_code == 0


async def test_a_host_that_is_not_reached_is_one_of_the_answers(machines: Machines) -> None:
    machine = machines.make()
    there = runs(machine)
    await asyncio.to_thread(machine.stop)
    (ended,) = [each async for each in events(there, "true") if each is not None]
    assert isinstance(ended, HostEnded)
    assert ended.exit_code == 4
    assert "refuses connections" in ended.error
    await asyncio.to_thread(machine.start)
