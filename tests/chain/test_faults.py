"""Bad hosts, full disks, two at once, Ctrl-C: a clear error, a later run that carries on, no rest.

The real program does everything; moments are random, the seed is printed, and OAKCTL_SEED
repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.lab import loopback
from oakctl.lab.loopback import Lab
from oakctl.lab.remains import remains
from tests.chain.terminal import Call, done, end_root, oakctl, refused
from tests.remote.servers import Machine, Machines

pytestmark = pytest.mark.slow

LAB = "faults"
HOSTS = (f"{LAB}-1", f"{LAB}-2")
BUS_PORT = 4222
TINY_MB = 160

DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: {name}
    application_namespace: faults
    microservices:
      - microservice_name: Sleeper
        microservice_namespace: faults
        virtualization: process
        code: ./app
        memory: 16
        oakctl: {{vcpus: 0.05, replicas: 2}}
"""

# The places where Python may be by their whole path are this machine's own, so this host's
# shell answers for the PATH alone.
SHELL = """#!/bin/sh
[ "$1" = -s ] && exec /bin/sh -s "$2" python3
exec /bin/sh "$@"
"""


@pytest.fixture
def rng() -> random.Random:
    seed = int(os.environ.get("OAKCTL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    sys.stderr.write(f"\nseed: OAKCTL_SEED={seed}\n")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def root_is_gone() -> Iterator[None]:
    yield
    end_root()


def control_groups() -> set[Path]:
    """Directories of control groups that are ours, of whichever lab."""
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found |= {Path(folder, name) for name in names if name.startswith("oakctl-")}
    return found


def down_leaves_nothing() -> None:
    """`lab down`, and nothing runs, listens or lies there afterwards."""
    lab = loopback.load(LAB)
    done("lab", "down", LAB)
    assert remains(lab.id, [host.address for host in lab.hosts]) == []
    assert not lab.directory.exists()
    assert list(paths.state_directory().rglob(f"*{LAB}*")) == []
    assert json.loads(done("cluster", "ls", "-o", "json")) == []


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two hosts; two calls make them at once."""
    calls = [Call("lab", "up", "--name", LAB, "--hosts", "2") for _ in range(2)]
    try:
        assert [call.ended().code for call in calls] == [0, 0]
        yield loopback.load(LAB)
    finally:
        done("lab", "down", LAB)


def application(folder: Path, name: str) -> str:
    """The file of an application whose instances only stay."""
    app = folder / "app"
    app.mkdir(exist_ok=True)
    (app / "oakctl-artifact.toml").write_text('name = "sleeper"\ncommand = ["sleep", "100000"]\n')
    file = folder / f"{name}.yaml"
    file.write_text(DESCRIPTOR.format(name=name))
    return str(file)


# --- hosts that cannot be used ------------------------------------------------------------------


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()


def add(name: str, machine: Machine, key: Path) -> None:
    done("host", "add", name, f"anna@127.0.0.1:{machine.port}", "-i", str(key))


def create(host: str, *more: str) -> tuple[str, ...]:
    return ("cluster", "create", "edge", "--on", host, *more)


def with_python(folder: Path, script: str) -> dict[str, str]:
    """The environment of a host with this `python3`, or with none."""
    folder.mkdir()
    for tool in ("id", "uname", "tr", "od", "cat", "nproc", "awk", "df", "date", "env", "sed", "tail", "mkdir"):
        (folder / tool).symlink_to(shutil.which(tool) or "/bin/false")
    for name, text in (("sh", SHELL), ("python3", script)):
        if text:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_hosts_that_cannot_be_used(machines: Machines, tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    other = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    machine = machines.make()
    add("stranger", machine, key)
    refused(4, *create("stranger"), words=("stranger", "SHA256:", "--accept-new"))
    add("closed", machine, other)
    refused(4, *create("closed", "--accept-new"), words=("closed", "anna"))
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    refused(4, *create("stranger", "--accept-new"), words=("stranger", "SHA256:", "changed"))
    machine.stop()
    refused(4, *create("stranger"), words=("stranger", f"127.0.0.1:{machine.port}"))

    none = machines.make(environment=with_python(tmp_path / "none", ""))
    add("bare", none, key)
    refused(1, *create("bare", "--accept-new"), words=("bare", "python3 is missing", "3.10"))
    script = "#!/bin/sh\nprintf '/old/python3\\t3.9.2\\t\\n'\n"
    old = machines.make(environment=with_python(tmp_path / "old", script))
    add("old", old, key)
    refused(1, *create("old", "--accept-new"), words=("old", "3.9.2, too old", "3.10"))
    assert list(none.home.iterdir()) == list(old.home.iterdir()) == []
    done("host", "forget", "bare", "--yes")


# --- two at once, and what is in the way --------------------------------------------------------


def test_port_in_use_and_two_at_once(lab: Lab) -> None:
    address = lab.hosts[0].address
    with socket.create_server((address, BUS_PORT)):
        words = (HOSTS[0], f"{address}:{BUS_PORT}", f"process {os.getpid()}")
        refused(6, *create(HOSTS[0]), words=words)
    calls = [Call(*create(HOSTS[0])) for _ in range(2)]
    codes = sorted(call.ended().code for call in calls)
    assert codes in ([0, 0], [0, 6]), "one makes it, the other follows it or comes too late"
    refused(6, "serve", words=("is the root",))
    words = ("edge",)
    refused(6, *create(HOSTS[1]), words=words)
    worker = ("worker", "add", "w1", "--cluster", "edge", "--on", HOSTS[1])
    calls = [Call(*worker) for _ in range(2)]
    assert sorted(call.ended().code for call in calls) in ([0, 0], [0, 6])
    assert done("worker", "ls", "-o", "name").split() == ["edge/w1"]
    down_leaves_nothing()


def test_two_demonstrations_and_two_that_are_interrupted(rng: random.Random) -> None:
    first = Call("demo", "--headless")
    try:
        # The first has its lock before a line of it can be read.
        wait_for(paths.state_directory() / "demo" / "state")
        text = refused(6, "demo", "--headless", words=("a demonstration is running already",))
        assert "kill" in text
    finally:
        ended = first.interrupt_after(rng.uniform(0.0, 15.0))
    assert ended.code == 130
    nothing_of_the_demonstration()
    assert Call("demo", "--headless").interrupt_after(rng.uniform(0.3, 6.0)).code == 130
    nothing_of_the_demonstration()


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError(f"{path} did not come")


def nothing_of_the_demonstration() -> None:
    demo = paths.state_directory() / "demo"
    assert not (demo / "state").exists()
    left = [path for path in demo.rglob("*") if path.is_file() and path.parent.name != "logs"]
    assert left in ([], [demo / "lock"])


# --- Ctrl-C -------------------------------------------------------------------------------------


def interrupted_then_done(longest: float, rng: random.Random, *arguments: str) -> None:
    """Ctrl-C at a random moment, and the same call again, which carries on."""
    after = rng.uniform(0.2, longest)
    ended = Call(*arguments).interrupt_after(after)
    sys.stderr.write(f"oakctl {' '.join(arguments)}: {ended.code} after {after:.2f} s\n")
    assert ended.code in (0, 130), ended
    again = oakctl(*arguments)
    # It was through already, or goes on in the root and is through by now.
    assert again.code == 0 or (again.code == 6 and "already" in again.text), again


def test_interrupted_in_every_step(rng: random.Random, tmp_path: Path) -> None:
    try:
        interrupted_then_done(1.5, rng, "lab", "up", "--name", LAB, "--hosts", "2")
        interrupted_then_done(6.0, rng, *create(HOSTS[0]))
        interrupted_then_done(
            5.0, rng, "worker", "add", "w1", "--cluster", "edge", "--on", HOSTS[1]
        )
        file = application(tmp_path, "first")
        interrupted_then_done(3.0, rng, "app", "apply", "-f", file, "--wait")
        interrupted_then_done(1.5, rng, "service", "scale", "Sleeper", "3", "--wait")
        assert len(done("instance", "ls", "-o", "name").split()) == 3
        Call("app", "delete", "first.faults", "--yes").interrupt_after(rng.uniform(0.2, 2.0))
        ended = oakctl("app", "delete", "first.faults", "--yes")
        assert ended.code in (0, 3), ended
        assert Call("lab", "down", LAB).interrupt_after(rng.uniform(0.2, 4.0)).code in (0, 130)
        if paths.labs_directory().joinpath(LAB).exists():
            down_leaves_nothing()
    finally:
        done("lab", "down", LAB)
    assert json.loads(done("host", "ls", "-o", "json")) == []


# --- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Path]:
    """The second host's home on a file system of its own, with room for little."""
    home = lab.directory / "homes" / HOSTS[1]
    options = f"size={TINY_MB}m,nr_inodes=30,mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs root: a small file system has to be mounted")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def test_full_disk(lab: Lab, small_disk: Path, tmp_path: Path) -> None:
    done(*create(HOSTS[0]))
    worker = ("worker", "add", "w1", "--cluster", "edge", "--on", HOSTS[1])
    refused(1, *worker, words=(HOSTS[1], "No space left"))
    grow = ["mount", "-o", f"remount,size={TINY_MB}m,nr_inodes=100000", str(small_disk)]
    subprocess.run(grow, check=True)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (TINY_MB - 60) * 2**20)
    refused(1, *worker, words=(HOSTS[1], "MiB are free", "make room"))
    filler.unlink()
    done(*worker)

    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(b"x" * 65536)
    file_name = application(tmp_path, "fetched")
    refused(
        5, "app", "apply", "-f", file_name, "--timeout", "6s", words=("edge/w1", "space", "explain")
    )
    filler.unlink()
    done("app", "apply", "-f", file_name, "--wait")
