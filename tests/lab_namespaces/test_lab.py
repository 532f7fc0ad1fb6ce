"""A lab of network namespaces: who reaches whom, by which address, and that nothing is left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines import topology
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site, Udp
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.lab.namespaces.plans import TAG
from tests.overlay.kernel.nodes import PROGRAMS, end
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay

pytestmark = pytest.mark.slow
PLAN = LabPlan(
    (MachineHost("hub"), MachineHost("a", site="home"), MachineHost("b", site="office")),
    (Site("home"), Site("office", Nat.SYMMETRIC)),
)
SEE = """
import json, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("0.0.0.0", 5000))
    one.settimeout(5)
    found = []
    for port in sys.argv[2:]:
        one.sendto(b"?\\n", (sys.argv[1], int(port)))
        try:
            found.append(one.recv(200).decode().split()[-1])
        except OSError as error:
            found.append(type(error).__name__)
print(json.dumps(found))
"""


def below(pid: int) -> set[int]:
    """The process and all that came of it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = Path(entry, "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("as_user", [False, True])
@pytest.mark.usefixtures("kernel_overlay")
def test_hosts_reach_the_public_one_from_behind_their_routers(as_user: bool) -> None:
    if not as_user and os.geteuid() != 0:
        pytest.skip("without a user namespace only root can have network namespaces")
    with NamespaceLab(PLAN, as_user=as_user) as lab:
        hub = lab.address("hub")
        server = lab.spawn("hub", ("python3", "-S", PROGRAMS, "serve", "hub", "7000"))
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            for host in ("a", "b"):
                seen = json.loads(lab.run(host, ("python3", "-S", "-c", SEE, hub, "7000")))
                assert seen not in ([lab.address(host)], ["TimeoutError"])
            with pytest.raises(OakError):
                lab.run("hub", ("ping", "-c1", "-W1", lab.address("a")))
            lab.set_site(Site("home", udp=Udp.DROP))
            seen = json.loads(lab.run("a", ("python3", "-S", "-c", SEE, hub, "7000")))
            assert seen == ["TimeoutError"]
            lab.run("a", ("ping", "-c1", "-w20", hub))
            lab.cut("a")
            with pytest.raises(OakError):
                lab.run("a", ("ping", "-c1", "-W1", hub))
            lab.heal("a")
            lab.run("a", ("ping", "-c1", "-w60", hub))
        finally:
            end(server)
            # The machine itself is not in it.
        assert not set(topology.operator_links(TAG)) & {name for _, name in socket.if_nameindex()}


@pytest.mark.usefixtures("kernel_overlay")
def test_nothing_is_left_when_its_owner_is_killed() -> None:
    code = (
        "import sys\nfrom tests.lab_namespaces.test_lab import PLAN\n"
        "from oakctl.lab.namespaces.lab import NamespaceLab\n"
        "lab = NamespaceLab(PLAN)\n"
        "lab.spawn('a', ('sleep', '1000'))\nprint('up', flush=True)\nsys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    owner = subprocess.Popen(
        (sys.executable, "-c", code),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    everyone = below(owner.pid)
    assert len(everyone) > len(PLAN.hosts) + len(PLAN.sites)
    end(owner)
    for pid in everyone - {owner.pid}:
        while Path(f"/proc/{pid}").exists():  # the test's own time limit is the deadline
            os.sched_yield()


@pytest.mark.parametrize("prepare", ["echo no >&2; exit 1", "exec sleep 1000"])
def test_a_machine_without_namespaces_says_so(
    monkeypatch: pytest.MonkeyPatch, prepare: str
) -> None:
    monkeypatch.setattr("oakctl.lab.namespaces.keeper._PREPARE", prepare)
    if "sleep" in prepare:
        monkeypatch.setattr("oakctl.lab.namespaces.keeper.READY_S", 0.5)
    with pytest.raises(OakError, match="does not allow namespaces") as caught:
        NamespaceLab(PLAN, as_user=True)
    assert caught.value.hint


def test_a_machine_without_the_program_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("oakctl.lab.namespaces.keeper.PATH", "/nonexistent")
    with pytest.raises(OakError, match="unshare cannot be run") as caught:
        NamespaceLab(PLAN, as_user=True)
    assert caught.value.hint
