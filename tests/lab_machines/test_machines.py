"""Real hosts on this machine: everything that a lab of them can do, and that nothing is left.

Needs root and a kernel with overlayfs and network namespaces; skipped elsewhere. The base image
comes from the user's cache, or is made there the first time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import oakctl
from oakctl import paths
from oakctl.cli import ssh
from oakctl.errors import Conflict, NotFound
from oakctl.lab import labs, processes
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines import record
from oakctl.lab.machines.lab_file import (
    DEFAULT,
    Arch,
    LabPlan,
    MachineHost,
    Nat,
    Site,
    Sudo,
    Suite,
    Udp,
)
from tests.lab.places import places
from tests.lab.requirements import BOOT_TIMEOUT_S, MARKS

pytestmark = [*MARKS]

PLAN = LabPlan(
    hosts=(
        MachineHost("m1"),
        MachineHost("m2", sudo=Sudo.PASSWORD),
        MachineHost("cone", site="cone"),
        MachineHost("home", site="home"),
        MachineHost("phone", site="phone"),
        MachineHost("office", site="office"),
    ),
    sites=(
        Site("cone", Nat.FULL_CONE),
        Site("home", Nat.PORT_RESTRICTED),
        Site("phone", Nat.SYMMETRIC),
        Site("office", Nat.NONE, Udp.DROP),
    ),
)
NAME = "mt"
SETTINGS = r"net\.ipv[46]\.(ip_forward|ping_group_range|conf\.(all|default)\..*)"
REMOTE_S = 60


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory and a home for the whole module; the cache is the user's."""
    with places(tmp_path_factory.mktemp("machines")) as directory:
        yield directory


@pytest.fixture(autouse=True)
def own_directories(state: Path) -> Path:
    """In place of directories for each test: the lab is one for all of them."""
    return state


@pytest.fixture(scope="module")
def before(state: Path) -> dict[str, set[str]]:
    return picture()


@pytest.fixture(scope="module")
def lab(before: dict[str, set[str]]) -> Iterator[machines.Lab]:
    try:
        yield timed("up", lambda: asyncio.run(machines.up(NAME, PLAN, print)))
    finally:
        asyncio.run(machines.down(NAME, print))


def timed(what: str, work: Callable[[], object]):  # type: ignore[no-untyped-def]
    began = time.monotonic()
    result = work()
    sys.stdout.write(f"{what}: {time.monotonic() - began:.1f} s\n")
    return result


def remote(
    lab: machines.Lab, host: str, command: str, stdin: str = "", *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command as the operator would, by the system's ssh and our known_hosts."""
    argv = ssh.arguments(lab.host(host), ["sh", "-c", command])
    argv[1:1] = ["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=REMOTE_S)
    assert not check or done.returncode == 0, done.stderr
    return done


def picture() -> dict[str, set[str]]:
    """What this machine looks like to those who have nothing to do with labs.

    Other labs, of other users or tests, may come and go meanwhile; what is theirs by its name
    is left out.
    """

    def out(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True).stdout

    nspawn = Path("/run/systemd/nspawn")
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    seen = {
        "links": {link["ifname"] for link in json.loads(out("ip", "-j", "link"))},
        "routes": set(out("ip", "route", "show", "table", "all").splitlines()),
        "mounts": {line.split()[4] for line in mountinfo},
        "network namespaces": network_namespaces(),
        "packet rules": set(out("nft", "list", "ruleset").splitlines()),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob("**/oakl-*")},
        "nspawn": {str(path) for path in nspawn.glob("*/*") if path.parent.name != "locks"},
        "binfmt": {str(path) for path in Path("/proc/sys/fs/binfmt_misc").glob("*")},
        "settings": set(out("sysctl", "-a", "--pattern", SETTINGS).splitlines()),
        "netns": {str(path) for path in Path("/run/netns").glob("*")},
    }
    return {what: {item for item in items if is_ours(item)} for what, items in seen.items()}


def network_namespaces() -> set[str]:
    """Namespaces of processes, but for those that run in the cgroup of another lab."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if is_ours((process / "cgroup").read_text()):
                found.add(str((process / "ns/net").readlink()))
        except OSError:  # gone meanwhile
            continue
    return found


def is_ours(text: str) -> bool:
    """Whether `text` names no lab but the one of this module."""
    tags = set(re.findall(r"oakl-?([0-9a-f]{6})", text)) - {record.tag(record.identity(NAME))}
    directory = str(paths.state_directory())
    cache = str(paths.cache_directory())
    elsewhere = re.search(r"/oakctl/lab(s)?/", text) and not text.startswith((directory, cache))
    return not tags and not elsewhere


def assert_nothing_left(state: Path, before: dict[str, set[str]]) -> None:
    deadline = time.monotonic() + 20  # namespaces end some time after their last process
    while (left := new_since(before)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    assert list(state.rglob("*")) == []


def new_since(before: dict[str, set[str]]) -> dict[str, set[str]]:
    now = picture()
    return {what: now[what] - before[what] for what in now if now[what] - before[what]}


def test_every_host_answers_and_is_a_whole_debian(lab: machines.Lab) -> None:
    assert lab.on == tuple(host.name for host in PLAN.hosts)
    machine_ids = set()
    for host in PLAN.hosts:
        name, machine_id, kind, user = remote(
            lab,
            host.name,
            "uname -n; cat /etc/machine-id; cat /proc/1/comm; id -un; python3 -c 'import asyncio'",
        ).stdout.split()
        assert (name, kind, user) == (host.name, "systemd", "oak")
        machine_ids.add(machine_id)
    assert len(machine_ids) == len(PLAN.hosts)
    remote(lab, "m1", "sudo -n systemctl --wait is-system-running")


def test_sudo_asks_for_the_password_where_it_shall(lab: machines.Lab) -> None:
    assert remote(lab, "m1", "sudo -n id -u").stdout == "0\n"
    assert remote(lab, "m2", "sudo -n id -u", check=False).returncode != 0
    answered = remote(lab, "m2", "sudo -S -p '' id -u", stdin=f"{lab.sudo_password}\n")
    assert answered.stdout == "0\n"
    wrong = remote(lab, "m2", "sudo -S -p '' id -u", stdin="wrong\n", check=False)
    assert wrong.returncode != 0


def test_public_hosts_are_reached_by_all_and_others_by_nobody(lab: machines.Lab) -> None:
    public = lab.host("m1").address
    for name in ("m2", "cone", "home", "phone", "office"):
        remote(lab, name, f"ping -c1 -W5 {public}")
    for there in ("home", "cone"):
        hidden = lab.host(there).address
        for name in ("m1", "phone"):
            assert remote(lab, name, f"ping -c1 -W1 {hidden}", check=False).returncode != 0


def test_no_host_has_a_way_out(lab: machines.Lab) -> None:
    routes = json.loads(subprocess.check_output(["ip", "-j", "-4", "addr"]))
    own = [
        address["local"]
        for link in routes
        if link["ifname"] != "lo" and not link["ifname"].startswith("oakl")
        for address in link["addr_info"]
    ]
    for name in ("m1", "home"):
        for address in own:
            assert remote(lab, name, f"ping -c1 -W1 {address}", check=False).returncode != 0


# Answers each datagram with the address it came from: from the same port, from another one, or
# by the other server.
SERVER = """
import json, socket, sys
peer = sys.argv[1]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 7000))
o = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); o.bind(("0.0.0.0", 7001))
print("ready", flush=True)
while True:
    body, source = s.recvfrom(2048)
    how, *to = json.loads(body)
    answer = json.dumps([how, *source]).encode()
    if how == "same port": s.sendto(answer, source)
    elif how == "other port": o.sendto(answer, source)
    elif how == "other host": s.sendto(json.dumps(["told", *source]).encode(), (peer, 7000))
    elif how == "told": s.sendto(json.dumps(["other host", *to]).encode(), tuple(to))
"""
# What a host sees through its router: the ports it has for two servers, and which of the
# answers arrive that come from where it sent nothing.
PROBE = """
import json, socket, sys
one, two = sys.argv[1:]
def ask(s, how, server, wait):
    s.settimeout(wait)
    for _ in range(3):
        s.sendto(json.dumps([how]).encode(), (server, 7000))
        try:
            while True:
                got = json.loads(s.recv(2048))
                if got[0] == how: return got[1:]
        except TimeoutError: pass
        except socket.timeout: pass
    return None
def fresh():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0)); return s
s = fresh()
seen = [ask(s, "same port", server, 2) for server in (one, two)]
s = fresh()
arrives = {how: ask(s, how, one, 1) is not None for how in ("other port", "other host")}
print(json.dumps({"seen": seen, "arrives": arrives}))
"""


@pytest.fixture
def servers(lab: machines.Lab) -> Iterator[tuple[str, str]]:
    one, two = (lab.host(name).address for name in ("m1", "m2"))
    running = []
    try:
        for name, peer in (("m1", two), ("m2", one)):
            argv = ssh.arguments(lab.host(name), ["python3", "-c", SERVER, peer])
            argv[1:1] = ["-F", "none", "-tt", "-o", "BatchMode=yes"]
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            running.append(process)
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
        yield one, two
    finally:
        for process in running:
            process.terminate()
            process.communicate()


@pytest.mark.parametrize(
    ("host", "one_port", "arrives"),
    [
        ("cone", True, {"other port": True, "other host": True}),
        ("home", True, {"other port": False, "other host": False}),
        ("phone", False, {"other port": False, "other host": False}),
    ],
)
def test_routers_translate_as_their_kind_does(
    lab: machines.Lab,
    servers: tuple[str, str],
    host: str,
    one_port: bool,
    arrives: dict[str, bool],
) -> None:
    done = remote(lab, host, f'python3 - {" ".join(servers)} <<"END"\n{PROBE}\nEND')
    found = json.loads(done.stdout)

    (address, port), (other_address, other_port) = found["seen"]
    assert address == other_address != lab.host(host).address
    assert (port == other_port) == one_port
    assert found["arrives"] == arrives


def test_a_firewall_drops_udp_and_nothing_else(lab: machines.Lab, servers: tuple[str, str]) -> None:
    done = remote(lab, "office", f'python3 - {" ".join(servers)} <<"END"\n{PROBE}\nEND')
    found = json.loads(done.stdout)

    assert found["seen"] == [None, None]
    tcp = f"import socket; socket.create_connection(('{servers[0]}', 22), 10).close()"
    remote(lab, "office", f'python3 -c "{tcp}"')


def test_up_again_changes_nothing(lab: machines.Lab) -> None:
    booted = remote(lab, "m1", "uptime -s; cat /etc/machine-id").stdout

    again = timed("up again", lambda: asyncio.run(machines.up(NAME, PLAN)))

    assert again == lab
    assert remote(lab, "m1", "uptime -s; cat /etc/machine-id").stdout == booted
    other = dataclasses.replace(PLAN, hosts=PLAN.hosts[:1])
    with pytest.raises(Conflict):
        asyncio.run(machines.up(NAME, other))


def test_what_was_written_survives_a_power_cut_and_a_shutdown(lab: machines.Lab) -> None:
    remote(lab, "home", "echo kept > kept; sync; sudo -n nft add table inet mine")
    assert "inet mine" in remote(lab, "home", "sudo -n nft list tables").stdout

    timed("power cut", lambda: asyncio.run(lab.power_cut("home")))
    assert "home" not in machines.load(NAME).on
    assert remote(lab, "home", "true", check=False).returncode != 0
    timed("start", lambda: asyncio.run(lab.start_host("home")))
    assert remote(lab, "home", "cat kept").stdout == "kept\n"
    # What it told its kernel is gone, as after any power cut.
    assert remote(lab, "home", "sudo -n nft list tables").stdout == ""

    console = lab.directory / "hosts" / "home" / "console.log"
    shutdowns = console.read_text(errors="replace").count("Halting system")
    timed("stop", lambda: asyncio.run(lab.stop_host("home")))
    assert "home" not in machines.load(NAME).on
    assert console.read_text(errors="replace").count("Halting system") == shutdowns + 1
    asyncio.run(lab.start_host("home"))
    assert remote(lab, "home", "cat kept").stdout == "kept\n"
    assert machines.load(NAME).on == lab.on


def test_services_of_one_host_are_not_those_of_another(lab: machines.Lab) -> None:
    question = "systemctl is-active ssh dbus.socket"
    try:
        remote(lab, "m1", "sudo -n systemctl stop dbus.socket; sudo -n systemctl restart ssh")

        # Without its bus only the superuser gets an answer there.
        there = remote(lab, "m1", f"sudo -n {question}", check=False)
        assert there.stdout.split() == ["active", "inactive"]
        here = remote(lab, "m2", question)
        assert here.stdout.split() == ["active", "active"]
    finally:
        remote(lab, "m1", "sudo -n systemctl start dbus.socket")


def test_a_cut_host_runs_on_and_comes_back(lab: machines.Lab) -> None:
    booted = remote(lab, "home", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1").stdout

    asyncio.run(lab.cut_host("home"))
    assert machines.load(NAME).cut == ("home",)
    assert "home" in machines.load(NAME).on
    assert remote(lab, "home", "true", check=False).returncode != 0
    # A host that starts while it is cut off stays so.
    asyncio.run(lab.start_host("home"))
    assert remote(lab, "home", "true", check=False).returncode != 0

    asyncio.run(lab.heal_host("home"))
    assert machines.load(NAME).cut == ()
    after = remote(lab, "home", "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1").stdout
    assert after == booted
    remote(lab, "home", f"ping -c1 -W5 {lab.host('m1').address}")


def test_a_reflashed_host_is_another_one(lab: machines.Lab) -> None:
    old = remote(lab, "m2", "touch mine; cat /etc/machine-id").stdout

    timed("reflash", lambda: asyncio.run(lab.reflash_hosts(["m2"])))

    refused = remote(lab, "m2", "true", check=False)
    assert refused.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    asyncio.run(machines.up(NAME, PLAN))  # makes the new key known
    assert remote(lab, "m2", "cat /etc/machine-id").stdout != old
    assert remote(lab, "m2", "test -e mine", check=False).returncode == 1
    answered = remote(lab, "m2", "sudo -S -p '' id -u", stdin=f"{lab.sudo_password}\n")
    assert answered.stdout == "0\n"


def test_labs_of_every_kind_are_one_list(lab: machines.Lab) -> None:
    assert [each.name for each in labs.ls()] == [NAME]
    assert labs.load(NAME).hosts == lab.hosts


def test_down_leaves_nothing_and_twice_is_fine(
    lab: machines.Lab, state: Path, before: dict[str, set[str]]
) -> None:
    assert new_since(before)  # so that the comparison is one

    timed("down", lambda: asyncio.run(labs.down(NAME, print)))

    assert_nothing_left(state, before)
    assert processes.of_lab(lab.id) == []
    asyncio.run(labs.down(NAME, print))
    asyncio.run(machines.down(NAME))
    assert_nothing_left(state, before)
    with pytest.raises(NotFound):
        machines.load(NAME)


def started() -> subprocess.Popen[str]:
    """An `up` of the default lab in a process of its own."""
    code = (
        "import asyncio; from oakctl.lab.machines import lab, lab_file as f;"
        "asyncio.run(lab.up('mt', f.DEFAULT, lambda m: print(m, flush=True)))"
    )
    source = str(Path(oakctl.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source},
    )


@pytest.mark.parametrize("host_is_on", [False, True])
def test_a_killed_up_is_gone_on_with_or_taken_away(
    state: Path, before: dict[str, set[str]], host_is_on: bool
) -> None:
    """Killed while the network is made, or when a host boots; then up, and down without files."""
    running = started()
    assert running.stdout is not None
    word = " is on" if host_is_on else "network"
    for line in running.stdout:
        if word in line:
            break
    running.send_signal(signal.SIGKILL)
    running.communicate()
    try:
        if host_is_on:
            again = asyncio.run(machines.up(NAME, DEFAULT, print))
            assert again.on == tuple(host.name for host in again.hosts)
            # Even with its record gone, the lab is found by names that follow from its own.
            (again.directory / machines.RECORD).unlink()
    finally:
        asyncio.run(labs.down(NAME, print))
    assert_nothing_left(state, before)
    assert not paths.labs_directory().exists()


PI = LabPlan((MachineHost("pi", suite=Suite.BOOKWORM, arch=Arch.ARM64, sudo=Sudo.PASSWORD),))


@pytest.mark.soak
@pytest.mark.timeout(2 * BOOT_TIMEOUT_S)
def test_a_host_of_another_architecture(state: Path, before: dict[str, set[str]]) -> None:
    """It is emulated; whatever was registered for that is gone with the last lab that used it."""
    try:
        lab = timed("up", lambda: asyncio.run(machines.up(NAME, PI, print)))
        assert remote(lab, "pi", "uname -m; id -un").stdout.split() == ["aarch64", "oak"]
        # A program that is another user's when it runs is that when it is emulated, too.
        password = f"{lab.sudo_password}\n"
        assert remote(lab, "pi", "sudo -S -p '' id -u", stdin=password).stdout == "0\n"
        assert remote(lab, "pi", "python3 -c 'import asyncio, ssl'").returncode == 0
        timed("stop", lambda: asyncio.run(lab.stop_host("pi")))
        timed("start", lambda: asyncio.run(lab.start_host("pi")))
        assert new_since(before)["binfmt"]
    finally:
        asyncio.run(labs.down(NAME, print))
    assert_nothing_left(state, before)


@pytest.mark.soak
def test_a_killed_build_is_gone(
    state: Path,
    before: dict[str, set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed while Debian is installed: its processes and mounts are taken away, and its files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    running = started()
    deadline = time.monotonic() + REMOTE_S
    while not list(tmp_path.glob("oakctl/lab/.*.new/usr")):
        assert running.poll() is None
        assert time.monotonic() < deadline, "nothing was installed"
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.communicate()

    asyncio.run(labs.down(NAME, print))
    asyncio.run(labs.down(NAME, print))

    assert_nothing_left(state, before)
    assert list(tmp_path.glob("oakctl/lab/.*.new")) == []
