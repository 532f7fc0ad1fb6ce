"""The plain supervisor, asked as a host's own processes ask it: over the keeper's socket."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from oakctl.errors import NotFound
from oakctl.lab import control, loopback, processes
from oakctl.lab.description import LabFiles
from oakctl.lab.loopback import Lab
from tests.waiting import until

from .conftest import HOSTS

SLEEP = ["/bin/sleep", "987"]


async def ask(operation: str, name: str = "u", **more: Any) -> dict[str, Any]:
    request = {"op": operation, "host": "h1", "name": name, **more}
    answer = await control.ask(LabFiles("t").socket, request, timeout_s=20)
    return answer.get("units", {}).get(name, {})


async def put(argv: list[str], **more: Any) -> dict[str, Any]:
    return await ask("put", unit={"name": "u", "argv": argv, **more})


async def test_put_starts_and_only_a_change_restarts(lab: Lab) -> None:
    first = await put(SLEEP)
    again = await put(SLEEP)
    changed = await put(SLEEP, environment={"A": "1"})
    assert first["state"] == "running"
    assert again["pid"] == first["pid"]
    assert changed["pid"] != first["pid"]
    assert b"A=1" in Path(f"/proc/{changed['pid']}/environ").read_bytes()
    assert not Path(f"/proc/{first['pid']}").exists()


async def test_a_killed_unit_starts_again(lab: Lab) -> None:
    first = await put(SLEEP)
    os.kill(first["pid"], signal.SIGKILL)

    async def restarted() -> bool:
        status = await ask("status")
        return status["state"] == "running" and status["pid"] != first["pid"]

    await until("the unit runs again", restarted)
    status = await ask("status")
    assert (status["restarts"], status["exit_code"]) == (1, -signal.SIGKILL)


async def test_a_program_that_is_not_there_backs_off_and_says_so(lab: Lab) -> None:
    status = await put(["/nowhere/program"])
    assert (status["state"], status["exit_code"]) == ("backing-off", 127)
    output = (lab.directory / "homes/h1/.oakctl/log/u.log").read_text()
    assert "/nowhere/program" in output
    assert (await put(SLEEP))["state"] == "running"


async def test_output_goes_to_the_units_log(lab: Lab) -> None:
    await put(["/bin/sh", "-c", "echo out; echo err >&2; exec sleep 987"])
    log = lab.directory / "homes/h1/.oakctl/log/u.log"
    await until("both lines are in the log", lambda: log.read_text() == "out\nerr\n")


async def test_stop_start_restart_remove(lab: Lab) -> None:
    first = await put(SLEEP)
    stopped = await ask("stop")
    assert (stopped["state"], stopped["exit_code"]) == ("stopped", -signal.SIGTERM)
    assert processes.start_of(first["pid"]) is None
    started = await ask("start")
    restarted = await ask("restart")
    assert restarted["pid"] not in (0, started["pid"])
    await ask("remove")
    assert not (lab.directory / "homes/h1/.oakctl/etc/units/u.json").exists()
    with pytest.raises(NotFound):
        await ask("status")


async def test_stopping_a_unit_leaves_what_it_started(lab: Lab, state: Path) -> None:
    pid_file = state / "child"
    await put(["/bin/sh", "-c", f"setsid sleep 987 & echo $! > {pid_file}; wait"])
    await until("the child runs", lambda: pid_file.exists() and bool(pid_file.read_text()))
    await ask("stop")
    assert processes.start_of(int(pid_file.read_text())) is not None


async def test_a_unit_deaf_to_sigterm_is_killed(lab: Lab, state: Path) -> None:
    ready = state / "ready"
    script = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); "
    await put([sys.executable, "-c", script + "time.sleep(987)"])
    await until("the unit ignores SIGTERM", ready.exists)
    assert (await ask("stop"))["exit_code"] == -signal.SIGKILL


async def test_a_restarted_keeper_adopts_what_runs(lab: Lab) -> None:
    unit = await put(SLEEP)
    await ask("put", "v", unit={"name": "v", "argv": SLEEP})
    await ask("stop", "v")
    os.kill(lab.keeper, signal.SIGKILL)
    revived = await loopback.up("t", HOSTS)
    assert revived.keeper != lab.keeper
    assert [host.address for host in revived.hosts] == [host.address for host in lab.hosts]
    status = await ask("status")
    assert (status["state"], status["pid"]) == ("running", unit["pid"])
    assert (await ask("status", "v"))["state"] == "stopped"
    assert len([p for p in processes.of_lab(lab.id) if p.command == tuple(SLEEP)]) == 1
    os.kill(unit["pid"], signal.SIGKILL)

    async def restarted() -> bool:
        return (await ask("status"))["pid"] not in (0, unit["pid"])

    await until("the adopted unit starts again", restarted)


async def test_a_keeper_finds_a_unit_that_was_never_written_down(lab: Lab) -> None:
    unit = await put(SLEEP)
    os.kill(lab.keeper, signal.SIGKILL)
    (lab.directory / "run/h1/u.json").unlink()
    await loopback.up("t", HOSTS)
    assert (await ask("status"))["pid"] == unit["pid"]


async def test_a_stop_that_a_killed_keeper_began_is_carried_through(lab: Lab) -> None:
    unit = await put(SLEEP)
    os.kill(lab.keeper, signal.SIGKILL)
    stored = lab.directory / "homes/h1/.oakctl/etc/units/u.json"
    stored.write_text(stored.read_text().replace('"wanted":true', '"wanted":false'))
    await loopback.up("t", HOSTS)
    assert (await ask("status"))["state"] == "stopped"
    assert processes.start_of(unit["pid"]) is None


async def test_requests_that_make_no_sense_are_answered(lab: Lab) -> None:
    reader, writer = await asyncio.open_unix_connection(LabFiles("t").socket)
    for line in (b"{\n", b"[]\n", b'{"op":"put","host":"h1"}\n', b'{"op":"x","host":"h9"}\n'):
        writer.write(line)
        assert b'"ok": false' in await reader.readline()
    writer.close()
    await writer.wait_closed()
