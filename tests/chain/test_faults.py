"""Bad input and faults, with the real program: what is said, what carries on, what is left.

Belongs here: calls of `oakctl` as a user types them, on a real lab. Does not belong here: the
reasons behind one message (the room's own tests). The seed of random moments is printed;
OAKCTL_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from oakctl.orchestration.worker.cgroup import node_group
from tests.chain.fleet import commands, processes_with
from tests.remote.servers import Machine
from tests.waiting import until_now

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
DEADLINE_S = 90
GONE_S = 15
LAB = "faults"
HOST = f"{LAB}-1"
WORKER_HOST = f"{LAB}-2"
BUS_PORT = 4222


@dataclass(frozen=True)
class Ended:
    """A call that has ended: the shell's code, and what was said on both streams."""

    call: str
    code: int
    text: str

    def must(self, code: int, *words: str) -> Ended:
        """It ended so, and said all of `words`."""
        assert self.code == code, self
        for word in words:
            assert word in self.text, (word, self)
        return self


def begin(*arguments: str) -> subprocess.Popen[str]:
    """A call that is under way; both streams in one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "oakctl", *arguments],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )


def ended(call: subprocess.Popen[str]) -> Ended:
    """Wait for its end; a traceback is never what a user should see."""
    with call:
        try:
            text = call.communicate(timeout=DEADLINE_S)[0]
        except subprocess.TimeoutExpired:
            call.kill()
            raise
    assert "Traceback" not in text, text
    assert "oakctl is at fault" not in text, text
    return Ended(str(call.args), call.returncode, text)


def oakctl(*arguments: str) -> Ended:
    """One call, from beginning to end."""
    return ended(begin(*arguments))


def state() -> Path:
    """Where this test's root and labs keep their files."""
    return Path(os.environ["XDG_STATE_HOME"]) / "oakctl"


def ours() -> dict[int, str]:
    """Process id → command of all that was started from here or lives on a host of ours.

    Without this process, and without the root, which leaves by itself.
    """
    home = os.environ["HOME"]
    skip = {os.getpid(), root_pid()}
    found = {
        pid
        for pid, environment in processes_with().items()
        if pid not in skip and environment.get("HOME", "").startswith(home)
    }
    return {pid: " ".join(words) for pid, words in commands(found).items()}


def root_pid() -> int:
    try:
        return int((state() / "root.lock").read_text())
    except (OSError, ValueError):
        return 0


def end_root() -> None:
    """The root leaves as it does on SIGTERM, and its log has no traceback."""
    pid = root_pid()
    if pid and Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGTERM)
        until_now("the root to leave", lambda: not Path(f"/proc/{pid}").exists())
    log = state() / "root.log"
    if log.exists():
        text = log.read_text(errors="replace")
        assert "Traceback" not in text, text


def cgroups() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob("**/oakctl-*") if path.is_dir()]


def listeners(numbers: list[int]) -> list[str]:
    """Address and port (as /proc writes them) of what listens on these hosts' addresses."""
    ends = tuple(f"{one:02X}7F:" for number in numbers for one in (number, number + 1))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[1][4:].startswith(ends)]


def numbers() -> list[int]:
    record = state() / "labs" / LAB / "lab.json"
    return [host["number"] for host in json.loads(record.read_text())["hosts"]]


def lab_is_down(held: list[int]) -> None:
    """`lab down`, and nothing is left: no process, listener, file or cgroup of it."""
    prefixes = [str(path) for path in (state() / "labs" / LAB).glob("**/.oakctl") if path.is_dir()]
    groups = {node_group(prefix) for prefix in prefixes}
    oakctl("lab", "down", LAB).must(0, "is gone")
    assert ours() == {}
    assert listeners(held) == []
    assert not (state() / "labs" / LAB).exists()
    assert not list(state().glob(f"lab-{LAB}*"))
    assert [path for path in cgroups() if path.name in groups] == []


@pytest.fixture
def clean() -> Iterator[None]:
    """Whatever becomes of the test, its lab and its root are ended."""
    yield
    oakctl("lab", "down", LAB)
    end_root()


@pytest.fixture
def lab(clean: None) -> list[int]:
    """Two hosts; their numbers."""
    oakctl("lab", "up", "--name", LAB, "--hosts", "2").must(0)
    return numbers()


@pytest.fixture
def seeded() -> random.Random:
    """The source of this run's moments."""
    seed = int(os.environ.get("OAKCTL_SEED", "0")) or random.randrange(1, 1 << 31)
    sys.stdout.write(f"OAKCTL_SEED={seed}\n")
    return random.Random(seed)


def create(host: str = HOST) -> tuple[str, ...]:
    """The call that makes the cluster of these tests."""
    return ("cluster", "create", "edge", "--on", host)


def add(host: str = WORKER_HOST) -> tuple[str, ...]:
    """The call that makes the worker of these tests."""
    return ("worker", "add", "w1", "--cluster", "edge", "--on", host)


def at_once(*calls: tuple[str, ...]) -> list[Ended]:
    """Calls begun in the same moment, when all have ended."""
    return [ended(call) for call in [begin(*arguments) for arguments in calls]]


def interrupted(lines: int, *arguments: str) -> Ended:
    """Ctrl-C after so many lines, unless the call ends before."""
    call = begin(*arguments)
    assert call.stdout is not None
    told = ""
    while told.count("\n") < lines and (line := call.stdout.readline()):
        told += line
    call.send_signal(signal.SIGINT)
    done = ended(call)
    assert done.code in (0, 130), (told, done)
    return Ended(done.call, done.code, told + done.text)


# --- hosts that are of no use -------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """An SSH server whose sessions find the usual programs, and no Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            link = programs / program.name
            if not program.name.startswith("python") and not link.exists():
                link.symlink_to(program)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "id_ed25519")
    machine = Machine(tmp_path / "machine", key, loop, environment={"PATH": str(programs)})
    try:
        yield machine.start()
        machine.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


SERVE_LOOKING_IN_PATH_ONLY = """
from oakctl.remote import facts
facts.PYTHONS = ("python3",)
from oakctl.__main__ import main
raise SystemExit(main(["serve", "--keep"]))
"""


@pytest.fixture
def served(clean: None, tmp_path: Path) -> Iterator[None]:
    """A root that looks for Python in a host's PATH only, as this machine's own is elsewhere."""
    file = tmp_path / "serve.log"
    with file.open("wb") as log:
        serving = subprocess.Popen(
            [sys.executable, "-c", SERVE_LOOKING_IN_PATH_ONLY], cwd=CHECKOUT, stderr=log
        )
    try:
        until_now("the root's socket", lambda: (state() / "root.sock").exists())
        yield
    finally:
        serving.terminate()
        assert serving.wait(GONE_S) == 143
    assert "Traceback" not in file.read_text()


@pytest.mark.usefixtures("served")
def test_hosts_of_no_use(bare: Machine, tmp_path: Path) -> None:
    oakctl("host", "add", "nobody", "127.0.0.1:1").must(0)
    oakctl(*create("nobody")).must(4, "nobody: ", "hint: ssh -p 1 ")
    oakctl("cluster", "remove", "edge", "--yes").must(3, "there is no cluster")

    address = f"127.0.0.1:{bare.port}"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    oakctl("host", "add", "pi", address, "-i", str(tmp_path / "other")).must(0)
    second = ("cluster", "create", "second", "--on", "pi")
    oakctl(*second, "--accept-new").must(4, "pi: ", "hint: ")
    oakctl("host", "add", "pi-2", address, "-i", str(tmp_path / "id_ed25519")).must(0)
    third = ("cluster", "create", "third", "--on", "pi-2")
    oakctl(*third).must(1, "pi-2: ", "python3 is missing", "hint: ")
    old = tmp_path / "bin" / "python3"
    old.write_text("#!/bin/sh\nprintf '/old/python3\\t3.9.2\\t\\n'\n")
    old.chmod(0o755)
    oakctl(*third).must(1, "pi-2: ", "3.9.2", "too old", "hint: ")
    assert not (bare.home / ".oakctl").exists()


@pytest.fixture
def small_disk(lab: list[int]) -> Iterator[Path]:
    """The first host's home is a file system of its own, nearly full."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    home = state() / "labs" / LAB / "homes" / HOST
    if not mounted(home, "size=8m"):
        pytest.skip("nothing can be mounted here")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def mounted(home: Path, options: str) -> bool:
    """Mount a tmpfs there, or change the one that is there."""
    again = "remount," if home.is_mount() else ""
    command = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(home)]
    return subprocess.run(command, check=False).returncode == 0


def test_a_full_disk_on_the_way_to_a_host(small_disk: Path) -> None:
    oakctl(*create()).must(1, f"{HOST}: ", "MiB are free", "hint: ")
    # Room for bytes and none for files: refused before anything is begun, too.
    assert mounted(small_disk, "size=300m,nr_inodes=20")
    oakctl(*create()).must(1, f"{HOST}: ", "inodes are free", "hint: ")
    assert mounted(small_disk, "size=300m,nr_inodes=100000")
    oakctl(*create()).must(0)


# --- two at once, and Ctrl-C ---------------------------------------------------------------


def test_a_second_demonstration_is_refused_and_the_first_interrupted(
    clean: None, seeded: random.Random
) -> None:
    first = begin("demo", "--headless")
    assert first.stdout is not None
    first.stdout.readline()
    oakctl("demo", "--headless").must(6, "is running already", str(first.pid), "hint: ")
    for _ in range(seeded.randint(0, 12)):
        first.stdout.readline()
    first.send_signal(signal.SIGINT)
    assert ended(first).code == 130
    assert ours() == {}
    assert [path for path in cgroups() if "demo" in str(path)] == []


def carried_on(call: tuple[str, ...]) -> None:
    """Twice at once: what was begun is followed, or is there already."""
    for done in at_once(call, call):
        assert done.code == 0 or (done.code == 6 and "already (ready" in done.text), done


def test_interrupted_doubled_and_carried_on(clean: None, seeded: random.Random) -> None:
    up = ("lab", "up", "--name", LAB, "--hosts", "2")
    interrupted(seeded.randint(1, 3), *up)
    for done in at_once(up, up):
        done.must(0, f"host {HOST} answers")
    held = numbers()
    oakctl("serve").must(6, "is the root of", "hint: oakctl status")

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((f"127.{held[0]}.0.1", BUS_PORT))
        other.listen()
        words = (HOST, f":{BUS_PORT} is in use", f"process {os.getpid()}", "hint: ")
        oakctl(*create()).must(6, *words)

    for call in (create(), add()):
        cut = interrupted(seeded.randint(1, 12), *call)
        if cut.code == 130:
            assert "the same command follows it again" in cut.text
        carried_on(call)
    apply = ("app", "apply", "-f", "examples/hello.yaml", "--wait")
    interrupted(seeded.randint(1, 4), *apply)
    oakctl(*apply).must(0)
    oakctl("service", "ls", "-o", "json").must(0, '"Web"')
    lab_is_down(held)
