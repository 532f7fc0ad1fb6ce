"""What faults do to networks and disks, on light hosts with a kernel's own rules and queues."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from oakctl.chaos import deeds, envelope, faults, means, possible, records
from oakctl.chaos.faults import Fault, Kind
from oakctl.chaos.means import Means
from oakctl.chaos.possible import Here
from oakctl.errors import OakError
from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model.views import HostView
from tests.overlay.kernel.requirements import kernel_overlay as kernel_overlay
from tests.waiting import until_now

HOSTS = ("a", "b", "c")
ELSEWHERE = Here("another machine", 1.0)
SERVE = (
    "import http.server as h; h.HTTPServer(('', 2222), h.SimpleHTTPRequestHandler).serve_forever()"
)
ASK = "import socket, sys; socket.create_connection((sys.argv[1], 2222), 1).close()"
HOUR = 3600.0


@dataclass(frozen=True)
class Host:
    """A host of the lab that has something of ours; `b` is where the operator is."""

    lab: NamespaceLab
    name: str
    home: Path

    def sh(self, script: str, *arguments: str) -> str:
        ssh = f"{self.lab.address('b')} 50022 {self.address} 2222"
        words = ("env", f"HOME={self.home}", f"SSH_CONNECTION={ssh}", "sh", "-c", script, "sh")
        return self.lab.run(self.name, (*words, *arguments))

    @property
    def address(self) -> str:
        return self.lab.address(self.name)

    @property
    def means(self) -> Means:
        read = means.parse(self.sh(means.QUESTIONS, "n0").splitlines(), "n0")
        assert read is not None
        return replace(read, systemd=False)  # of this machine, seen from in here

    def make(self, fault: Fault, others: tuple[str, ...] = (), place: str = "") -> None:
        its = self.means
        possible.require(fault, HostView(self.name, self.address), its, ELSEWHERE)
        key = faults.key(fault, place)
        deed = deeds.deed(fault, key, its, others=others)
        noted = records.record(fault)
        self.sh(
            envelope.lasting(
                deed, prefix=its.prefix, key=key, token=secrets.token_hex(4), record=noted,
                seconds=fault.for_s, timer=its.timer,
            )
        )  # fmt: skip

    def heal(self) -> list[bool]:
        said = self.sh(records.BEGIN + records.HEAL, "n0", str(self.home / means.HOME))
        return [each.done for each in records.healed(self.name, said.splitlines(), "n0")]

    def reaches(self, other: Host) -> bool:
        try:
            self.lab.run(self.name, ("ping", "-c", "1", "-W", "1", other.address))
        except OakError:
            return False
        return True

    @property
    def picture(self) -> str:
        """All rules and queues."""
        return self.sh("nft list ruleset; tc qdisc show; ls -A $HOME/.oakctl")


Hosts = dict[str, Host]


@pytest.fixture(scope="module")
def hosts(kernel_overlay: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("homes")
    with NamespaceLab(LabPlan(tuple(MachineHost(name) for name in HOSTS))) as lab:
        made = {name: Host(lab, name, folder / name) for name in HOSTS}
        for host in made.values():
            (host.home / means.HOME).mkdir(parents=True)
            (host.home / means.HOME / "manifest.json").write_text("{}")
        # What others have there stays as it is.
        made["a"].sh("nft add table inet others; nft add chain inet others kept")
        yield made


def test_isolated_but_for_our_ssh(hosts: Hosts) -> None:
    a, b, c = (hosts[name] for name in HOSTS)
    before = a.picture
    server = a.lab.spawn("a", ("python3", "-c", SERVE))
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        ask = f"python3 -c {shlex.quote(ASK)} {a.address}"
        until_now("the server", lambda: works(b, ask))
        assert works(c, ask)
        a.make(faults.fault(Kind.ISOLATE, "a", for_s=HOUR))
        assert works(b, ask)
        assert not works(c, ask)
        assert not a.reaches(c)
        assert not c.reaches(a)
        assert a.sh("ping -c 1 -W 1 127.0.0.1")  # what does not leave it is not its network
        assert a.heal() == [True]
        assert works(c, ask)
    finally:
        server.kill()
        server.wait()
        server.stdin.close()
        server.stdout.close()
    assert a.picture == before


def works(host: Host, script: str) -> bool:
    try:
        host.sh(script)
    except OakError:
        return False
    return True


def test_parted_from_one_and_not_from_another(hosts: Hosts) -> None:
    a, b, c = (hosts[name] for name in HOSTS)
    before = a.picture, c.picture
    fault = faults.fault(Kind.PARTITION, "a", peer="c", for_s=HOUR)
    for one, other in ((a, c), (c, a)):
        one.make(fault, others=other.means.addresses, place=other.name)
    assert not a.reaches(c)
    assert not c.reaches(a)
    assert a.reaches(b)
    assert c.reaches(b)
    assert a.heal() == c.heal() == [True]
    assert a.reaches(c)
    assert (a.picture, c.picture) == before


def test_its_own_timer_ends_it_while_nothing_reaches_the_host(hosts: Hosts) -> None:
    a, c = hosts["a"], hosts["c"]
    before = a.picture
    a.make(faults.fault(Kind.ISOLATE, "a", for_s=2))
    until_now("the way back", lambda: c.reaches(a))
    until_now("all as it was", lambda: a.picture == before)


def test_slow_both_ways_and_two_faults_at_a_time(hosts: Hosts) -> None:
    a, c = hosts["a"], hosts["c"]
    before = a.picture
    a.make(faults.fault(Kind.SLOW, "a", bits_per_s=200_000, for_s=HOUR))
    a.make(faults.fault(Kind.PARTITION, "a", peer="b", for_s=HOUR), (hosts["b"].address,), "b")
    assert "rate 200Kbit" in a.sh("tc qdisc show dev eth0")
    assert a.reaches(c)
    assert "limit rate over 25000 bytes/second" in a.sh("nft list ruleset")
    # Far more than both bursts, as fast as can be.
    lost = c.sh(f"ping -q -f -c 200 -s 1400 -W 1 {a.address} || :")
    assert " 0% packet loss" not in lost
    assert a.heal() == [True, True]
    assert " 0% packet loss" in c.sh(f"ping -q -f -c 100 -s 1400 -W 5 {a.address}")
    assert a.picture == before


def test_a_queue_of_somebody_else_is_left_alone(hosts: Hosts) -> None:
    a = hosts["a"]
    a.sh("tc qdisc add dev eth0 root handle 7: tbf rate 1gbit burst 64k latency 50ms")
    try:
        before = a.picture
        with pytest.raises(OakError) as refused:
            a.make(faults.fault(Kind.SLOW, "a", bits_per_s=10**6))
        assert "left alone" in "".join(refused.value.details)
        assert a.picture == before
    finally:
        a.sh("tc qdisc del dev eth0 root")


def test_a_full_disk_is_empty_again(hosts: Hosts) -> None:
    c = hosts["c"]
    c.sh("mount -t tmpfs -o size=64m tmpfs $HOME/.oakctl; echo {} >$HOME/.oakctl/manifest.json")

    def free() -> int:
        return int(c.sh("df -k --output=avail $HOME/.oakctl | tail -n 1"))

    before = free()
    c.make(faults.fault(Kind.FILL_DISK, "c", leave_mb=5, for_s=HOUR))
    assert 4_500 < free() <= 5 * 1024
    with pytest.raises(OakError):
        c.sh("head -c 8m /dev/zero >$HOME/.oakctl/more")
    c.sh("rm -f $HOME/.oakctl/more")
    assert c.heal() == [True]
    until_now("room again", lambda: free() == before)  # its shell had a file open
    c.make(faults.fault(Kind.FILL_DISK, "c", leave_mb=5, for_s=1))
    until_now("its end", lambda: free() == before)
