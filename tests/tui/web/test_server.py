"""`oakctl web` over HTTP: what a browser gets, and what nobody else does."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from oakctl import paths
from oakctl.tui.web.server import Served
from tests.tui.web.program import Running, oakctl_web
from tests.waiting import until

pytestmark = pytest.mark.slow

WAIT_S = 60.0


@pytest.fixture
def running(own_directories: Path) -> Iterator[Running]:
    with oakctl_web("--sessions", "1") as program:
        yield program


def get(running: Running, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(running.base + path, headers=headers, timeout=WAIT_S)


async def refused(running: Running, **headers: str) -> int:
    """The status that a session is refused with."""
    address = running.base.replace("http", "ws", 1) + "/ws"
    with pytest.raises(InvalidStatus) as told:
        async with connect(address, additional_headers=headers):
            pass
    return int(told.value.response.status_code)


async def test_who_is_let_in_and_how_many(running: Running) -> None:
    cookie = running.cookie
    assert get(running).status_code == 401
    assert get(running, "/static/js/textual.js").status_code == 401
    assert get(running, "/?token=wrong").status_code == 401
    entered = httpx.get(running.address, timeout=WAIT_S)
    assert (entered.status_code, entered.headers["Location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict"} <= set(entered.headers["Set-Cookie"].split("; "))

    page = get(running, **cookie)
    assert page.status_code == 200
    assert running.token not in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert get(running, "/static/", **cookie).status_code == 403
    assert get(running, "/static/../guard.py", **cookie).status_code == 404

    foreign = {"Origin": "http://evil.example"}
    assert get(running, **cookie, **foreign).status_code == 403
    assert get(running, **cookie, Host="evil.example").status_code == 403
    assert await refused(running, **cookie, **foreign) == 403
    assert await refused(running, **cookie) == 403
    ours = {"Origin": running.base}
    assert await refused(running, **ours) == 401

    address = running.base.replace("http", "ws", 1) + "/ws"
    async with connect(address, additional_headers={**cookie, **ours}, max_size=None) as session:
        await session.recv()
        assert await refused(running, **cookie, **ours) == 503
        assert "Close another tab" in get(running, **cookie).text
        assert len(running.apps()) == 1
    await until("the tab's process to end", running.apps, lambda found: not found)
    assert get(running, **cookie).status_code == 200
    log = paths.state_directory() / "web.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert running.token not in log.read_text()


async def test_a_killed_server_leaves_no_session(running: Running) -> None:
    address = running.base.replace("http", "ws", 1) + "/ws"
    headers = {**running.cookie, "Origin": running.base}
    async with connect(address, additional_headers=headers, max_size=None) as session:
        await session.recv()
        apps = running.apps()
        assert apps
        os.kill(running.process.pid, signal.SIGKILL)
        await until("the session's process to end", lambda: not any(p.is_running() for p in apps))


def told(*options: str) -> tuple[int, str]:
    """The exit code and standard error of a start that is refused."""
    command = [sys.executable, "-m", "oakctl", "web", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_what_cannot_be_served_is_said(running: Running, tmp_path: Path) -> None:
    taken = running.base.rpartition(":")[2]
    code, said = told("--port", taken)
    assert (code, f"port {taken} of 127.0.0.1 is taken" in said) == (6, True)
    code, said = told("--host", "0.0.0.0")
    assert (code, "ssh -L" in said) == (2, True)
    (tmp_path / "cert.pem").write_text("no certificate")
    code, said = told("--port", "0", "--certificate", str(tmp_path / "cert.pem"))
    assert (code, "cert.pem" in said) == (2, True)
    assert told("--key", "x")[0] == 2


def test_the_address_that_is_told_can_be_opened(own_directories: Path, tmp_path: Path) -> None:
    """Listening on every address of the machine, it names one."""
    pair = (tmp_path / "key.pem", tmp_path / "cert.pem")
    name, files = ("-subj", "/CN=oakctl.example"), ("-keyout", str(pair[0]), "-out", str(pair[1]))
    made = ("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", *name, *files)
    subprocess.run(made, check=True, capture_output=True, timeout=WAIT_S)
    where = ("--host", "0.0.0.0", "--key", str(pair[0]), "--certificate", str(pair[1]))
    with oakctl_web(*where) as program:
        assert "0.0.0.0" not in program.base
        assert httpx.get(program.address, verify=False, timeout=WAIT_S).status_code == 303


def test_which_name_is_told() -> None:
    told = [
        Served("::", names=("pi.example", "other.example")).address(80, "2001:db8::7"),
        Served("::").address(80, "2001:db8::7"),
        Served("192.0.2.4").address(80),
    ]
    assert [each.partition("/?")[0] for each in told] == [
        "http://pi.example:80",
        "http://[2001:db8::7]:80",
        "http://192.0.2.4:80",
    ]
