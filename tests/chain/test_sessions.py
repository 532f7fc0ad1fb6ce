"""Commands, files and connections into instances, by the command line, through a whole fleet."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from oakctl.client.process import ensure_root
from tests.chain.fleet import commands, processes_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first test makes the fleet

CHECKOUT = Path(__file__).parents[2]
DEADLINE_S = 120.0
MIB = 1 << 20
INSTANCE = "Echo.instance.0"

DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: echo
    application_namespace: chain
    microservices:
      - microservice_name: Echo
        microservice_namespace: chain
        virtualization: process
        code: ./app
        memory: 64
        environment: ["GREETING=good day"]
        oakctl:
          vcpus: 0.1
          listen: [7000/tcp, 7001/udp]
          ready: {tcp: 7000}
"""
PROGRAM = """
import os, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.sendall(b"<end>")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
Server((os.environ["OAKCTL_BIND"], 7000), Echo).serve_forever()
"""


@dataclass(frozen=True)
class Done:
    """One call that has ended."""

    code: int
    out: bytes
    errors: str


def oakctl(*words: str, given: bytes = b"") -> Done:
    """Run the command line to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "oakctl", *words],
        cwd=CHECKOUT, input=given, capture_output=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def started(*words: str, **options: object) -> subprocess.Popen[bytes]:
    """Run it, and go on."""
    arguments = [sys.executable, "-m", "oakctl", *words]
    return subprocess.Popen(arguments, cwd=CHECKOUT, **options)  # type: ignore[call-overload, no-any-return]


def good(*words: str, given: bytes = b"") -> bytes:
    """Standard output of a call that has to succeed."""
    done = oakctl(*words, given=given)
    assert done.code == 0, (words, done)
    return done.out


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster with one worker that runs the service Echo; the variables that lead to it."""
    home = tmp_path_factory.mktemp("fleet")
    variables = {
        "HOME": str(home),
    }
    for name in ("STATE", "CACHE", "CONFIG"):
        variables[f"XDG_{name}_HOME"] = str(home / name.lower())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            asyncio.run(ensure_root(timeout_s=DEADLINE_S))
            good("lab", "up", "--name", "xs", "--hosts", "2")
            good("cluster", "create", "edge", "--on", "xs-1")
            good("worker", "add", "w1", "--cluster", "edge", "--on", "xs-2")
            app = home / "app"
            app.mkdir()
            (app / "main.py").write_text(PROGRAM)
            command = '["{python}", "{artifact}/main.py"]'
            (app / "oakctl-artifact.toml").write_text(f'name = "echo"\ncommand = {command}\n')
            (home / "echo.yaml").write_text(DESCRIPTOR)
            good("app", "apply", "-f", str(home / "echo.yaml"), "--wait")
            yield variables
        finally:
            oakctl("lab", "down", "xs")
            root = home / "state/oakctl/root.lock"
            if root.exists() and (owner := root.read_text().strip()).isdigit():
                os.kill(int(owner), signal.SIGTERM)


@pytest.fixture(autouse=True)
def there(fleet: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test speaks to that fleet."""
    for name, value in fleet.items():
        monkeypatch.setenv(name, value)


def test_exit_code_streams_and_surroundings() -> None:
    script = "echo out; echo err >&2; pwd; echo $GREETING; echo $OAKCTL_INSTANCE; exit 7"
    done = oakctl("instance", "exec", INSTANCE, "--", "sh", "-c", script)
    assert done.code == 7
    assert done.errors == "err\n"
    out = done.out.decode().splitlines()
    assert out[0] == "out"
    assert out[1].endswith("/instances/echo.chain.Echo.chain.instance.0/work")
    assert out[2:] == ["good day", "echo.chain.Echo.chain.instance.0"]
    missing = oakctl("instance", "exec", INSTANCE, "--", "no-such-program")
    assert missing.code == 127
    assert "no-such-program" in missing.errors
    killed = oakctl("instance", "exec", INSTANCE, "--", "sh", "-c", "kill -9 $$")
    assert killed.code == 137


def test_input_goes_through_whole() -> None:
    content = os.urandom(5 * MIB)
    out = good("instance", "exec", "-i", INSTANCE, "--", "cat", given=content)
    assert hashlib.sha256(out).digest() == hashlib.sha256(content).digest()
    assert good("instance", "exec", INSTANCE, "--", "cat", given=b"not asked for") == b""


def test_a_slow_reader_loses_nothing() -> None:
    command = ("instance", "exec", INSTANCE, "--", "seq", "1", "800000")
    reader = started(*command, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    counting, written = _remote("seq"), 0
    while (now := _written(counting)) == 0 or now != written:
        written = now
        time.sleep(0.5)  # between two looks at whether it stands still
    expected = "".join(f"{number}\n" for number in range(1, 800001)).encode()
    assert written < len(expected)  # all on the way was full, and it had to wait
    assert hashlib.sha256(reader.stdout.read()).digest() == hashlib.sha256(expected).digest()
    assert reader.wait(DEADLINE_S) == 0


def test_copy_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "deep/er").mkdir(parents=True)
    (source / "deep/er/big.bin").write_bytes(os.urandom(3 * MIB))
    (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (source / "run.sh").chmod(0o755)
    (source / "link").symlink_to("deep/er")
    good("instance", "cp", str(source), f"{INSTANCE}:/kept")
    assert good("instance", "exec", INSTANCE, "--", "kept/run.sh") == b"ran\n"
    good("instance", "cp", f"{INSTANCE}:kept", str(tmp_path / "back"))
    back = tmp_path / "back"
    assert _digests(back) == _digests(source)
    assert (back / "link").readlink() == Path("deep/er")
    # Into a directory that is there: under its own name.
    good("instance", "cp", str(source / "run.sh"), f"{INSTANCE}:/kept/deep")
    assert good("instance", "exec", INSTANCE, "--", "cat", "kept/deep/run.sh").startswith(b"#!")


def test_copies_that_lead_out_are_refused(tmp_path: Path) -> None:
    good("instance", "exec", INSTANCE, "--", "ln", "-sfn", "/etc", "out")
    done = oakctl("instance", "cp", f"{INSTANCE}:out/passwd", str(tmp_path / "got"))
    assert (done.code, "leads out" in done.errors) == (1, True), done
    assert not (tmp_path / "got").exists()
    (tmp_path / "file").write_bytes(os.urandom(3 * MIB))
    for path, words in (("out/oakctl-was-here", "leads out"), ("no/such/place", "no such dir")):
        done = oakctl("instance", "cp", str(tmp_path / "file"), f"{INSTANCE}:{path}")
        assert (done.code, words in done.errors) == (1, True), done
    assert not Path("/etc/oakctl-was-here").exists()
    assert oakctl("instance", "cp", "a", "b").code == 2


def test_top_says_what_instances_use() -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        (row,) = json.loads(good("instance", "top", "-o", "json"))
        if row["memory_mb"] > 0:
            break
        assert time.monotonic() < deadline, row
    assert row["name"] == "echo.chain.Echo.chain.instance.0"


@contextlib.contextmanager
def forwarding(*ports: str) -> Iterator[list[int]]:
    """The ports here."""
    process = started("service", "port-forward", "Echo", *ports, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        lines = [process.stderr.readline().decode() for _ in ports]
        yield [int(line.partition("127.0.0.1:")[2].split()[0]) for line in lines]
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    finally:
        process.kill()
        process.wait()


def echoed(port: int, content: bytes) -> bytes:
    """What comes back for `content`, with our direction closed before the other is."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:

        def send() -> None:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = b""
        while piece := connection.recv(65536):
            received += piece
        sender.join()
    return received


def test_several_connections_at_once_with_half_close() -> None:
    contents = [os.urandom(MIB) for _ in range(3)]
    with forwarding("0:7000") as (port,), ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda content: echoed(port, content), contents))
    assert [hashlib.sha256(one).digest() for one in found] == [
        hashlib.sha256(one + b"<end>").digest() for one in contents
    ]


def test_ports_that_are_not_forwarded() -> None:
    for spec, words in (("7002", "7000/tcp"), ("7001", "UDP"), ("http", "not [LOCAL:]PORT")):
        done = oakctl("service", "port-forward", "Echo", spec)
        assert (done.code, words in done.errors) == (2, True), done
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spec = f"{taken.getsockname()[1]}:7000"
        done = oakctl("service", "port-forward", "Echo", spec)
    assert done.code == 6
    assert "0:7000" in done.errors


class Terminal:
    """A pseudo-terminal with a command in it."""

    def __init__(self, words: Sequence[str]) -> None:
        self.ours, self._theirs = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self._theirs)
        self.seen = b""
        self.process = started(
            *words, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs,
            start_new_session=True, env={**os.environ, "TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def resize(self, rows: int, columns: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.ours, keys.encode())

    def until(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until it is seen; what comes later is matched the next time."""
        deadline = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, (pattern, self.seen)
            if select.select([self.ours], [], [], 1.0)[0]:
                self.seen += os.read(self.ours, 4096)
        self.seen = self.seen[found.end() :]
        return found

    def end(self) -> int:
        """Wait for the command's end; the terminal has to be as it was."""
        code = self.process.wait(DEADLINE_S)
        assert termios.tcgetattr(self._theirs) == self.before
        return code

    def close(self) -> None:
        """Take it away."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)


@pytest.fixture
def shell() -> Iterator[Terminal]:
    """A shell beside the instance, on a terminal."""
    made = Terminal(("instance", "exec", "-it", INSTANCE, "--", "sh"))
    try:
        yield made
    finally:
        made.close()


def test_a_shell_on_a_terminal(shell: Terminal) -> None:
    shell.type("echo size=$(stty size) on=$(tty) term=$TERM\n")
    assert shell.until(rb"size=(\d+ \d+) on=/dev/pts/\d+ term=xterm\r").group(1) == b"30 100"
    shell.resize(40, 120)
    os.killpg(shell.process.pid, signal.SIGWINCH)
    shell.type("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo gr''own\n")
    shell.until(rb"grown\r")
    shell.type("sleep 1000\n")
    sleeping = _remote("sleep")
    shell.type("\x03")  # for the command there, not for ours here
    _gone(sleeping)
    shell.type("echo still''here; exit 5\n")
    shell.until(rb"stillhere\r")
    assert shell.end() == 5


def test_ctrl_c_without_a_terminal_ends_the_command() -> None:
    process = started("instance", "exec", INSTANCE, "--", "sh", "-c", "echo up; exec sleep 1001",
                      stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    sleeping = _remote("sleep")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    _gone(sleeping)


def test_a_client_that_is_killed_leaves_nothing_behind() -> None:
    process = started("instance", "exec", "-i", INSTANCE, "--", "sh", "-c", "echo up; sleep 1002",
                      stdout=subprocess.PIPE, stdin=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    sleeping = _remote("sleep")
    process.kill()
    process.wait()
    _gone(sleeping)


@pytest.mark.parametrize("victim", ["worker", "cluster"])
def test_a_kill_in_the_middle_is_told(victim: str) -> None:
    process = started("instance", "exec", INSTANCE, "--", "sh", "-c", "echo up; exec sleep 1003",
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"up\n"
    sleeping = _remote("sleep")
    os.kill(_victim(victim), signal.SIGKILL)
    assert process.wait(DEADLINE_S) == 255
    assert "the session broke off" in process.stderr.read().decode()
    _gone(sleeping)
    deadline = time.monotonic() + DEADLINE_S
    while (done := oakctl("instance", "exec", INSTANCE, "--", "echo", "again")).code != 0:
        assert time.monotonic() < deadline, done
    assert done.out == b"again\n"


def test_nobody_to_speak_to() -> None:
    assert oakctl("instance", "exec", "Nobody.instance.0", "--", "true").code == 3
    done = oakctl("instance", "exec", "-t", INSTANCE, "--", "true")
    assert done.code == 2
    assert "terminal" in done.errors


def _ours() -> dict[int, list[str]]:
    home = os.environ["HOME"]
    marked = processes_with().items()
    return commands(
        pid
        for pid, variables in marked
        if variables.get("OAKCTL_LAB") and variables.get("HOME", "").startswith(home)
    )


def _remote(name: str) -> int:
    """The one process of this name beside the instance."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := [pid for pid, words in _ours().items() if words[:1] == [name]]) != 1:
        assert time.monotonic() < deadline, found
    return found[0]


def _written(pid: int) -> int:
    """Bytes that a process has written."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def _victim(kind: str) -> int:
    (found,) = [pid for pid, words in _ours().items() if len(words) > 2 and kind in words[1:4]]
    return found


def _gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.05)


def _digests(top: Path) -> dict[str, str]:
    return {
        str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }
