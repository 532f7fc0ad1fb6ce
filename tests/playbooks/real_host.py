"""A Debian host of the machine lab for playbooks, with a way to Debian's archive for its apt.

Needs root and a kernel with overlayfs and network namespaces; skipped elsewhere. The base image
comes from the user's cache, or is made there the first time.
"""

from __future__ import annotations

import http.server
import shlex
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from oakctl.errors import OakError
from oakctl.lab.machines import sources
from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.model.views import StepEvent
from oakctl.remote import connection, playbook, runner
from oakctl.remote.connection import FabricRemote
from oakctl.remote.hostlock import host_lock
from oakctl.remote.step import Step
from oakctl.remote.target import Target
from tests.lab import snapshot
from tests.lab.places import machine_lab
from tests.lab.requirements import MARKS

Test = TypeVar("Test", bound=Callable[..., object])


def on_a_real_host(test: Test) -> Test:
    """Marks a test that boots a host."""
    for mark in MARKS:
        test = mark(test)
    return test


class RealHost:
    """One host, reached as the operator would."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.told: list[StepEvent] = []

    @contextmanager
    def held(self) -> Iterator[FabricRemote]:
        with connection.open_fabric(self.target) as remote, host_lock(remote):
            yield remote

    def run(self, plan: Sequence[Step], *, allow_reboot: bool = False) -> dict[str, str]:
        """Run a plan under the host's lock; step → how it ended, with a word."""
        self.told = []
        with self.held() as remote:
            runner.run(plan, remote, self.told.append, threading.Event(), allow_reboot=allow_reboot)
        return {e.step: f"{e.state}: {e.message}" for e in self.told if e.state != "running"}

    def look(self, plan: Sequence[Step]) -> dict[str, str]:
        with connection.open_fabric(self.target) as remote:
            return {step.title: step.check(remote) for step in plan}

    def shell(self, script: str, stdin: bytes = b"") -> str:
        with connection.open_fabric(self.target) as remote:
            return remote.root(script, stdin=stdin, timeout_s=120).stdout.strip()

    def picture(self) -> snapshot.Snapshot:
        """All that a removal has to leave as it was."""
        command = f"python3 - {' '.join(snapshot.ROOTS)}"
        return snapshot.parse(self.shell(command, snapshot.SCRIPT.encode()))

    def put(self, path: str, content: str, mode: str = "644") -> None:
        quoted = shlex.quote(path)
        self.shell(
            f"mkdir -p $(dirname {quoted}); cat >{quoted}; chmod {mode} {quoted}", content.encode()
        )


def steps(name: str, *arguments: object) -> list[Step]:
    found: list[Step] = playbook.load(name).steps(*arguments)
    return found


@contextmanager
def real_host(name: str, folder: Path) -> Iterator[RealHost]:
    """A freshly laid out host, gone afterwards; its state in `folder`, the cache the user's."""
    with machine_lab(name, LabPlan(hosts=(MachineHost("pi"),)), folder) as lab:
        yield RealHost(Target.of(lab.hosts[0]))


class _Forward(http.server.BaseHTTPRequestHandler):
    """Hosts of a lab have no way out; this one leads to an archive of Debian and nowhere else."""

    archive: str

    def do_GET(self) -> None:
        passed = {k: v for k, v in self.headers.items() if k in ("Range", "If-Modified-Since")}
        request = urllib.request.Request(f"{self.archive}{self.path}", headers=passed)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                body = answer.read()
                self.send_response(answer.status)
                for key in ("Content-Type", "Last-Modified"):
                    if answer.headers[key]:
                        self.send_header(key, answer.headers[key])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        except urllib.error.HTTPError as error:
            with error:
                self.send_error(error.code)
        except OSError:
            self.send_error(502)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@contextmanager
def archive_for(host: RealHost) -> Iterator[None]:
    """The host's apt gets packages from where this machine's does; skips where that has none."""
    suite = host.shell(". /etc/os-release; echo $VERSION_CODENAME")
    try:
        archive = sources.own_mirror().rstrip("/")
        with urllib.request.urlopen(f"{archive}/dists/{suite}/Release", timeout=30):
            pass
    except (OakError, OSError) as error:
        pytest.skip(f"this machine gets no packages of Debian {suite}: {error}")
    here = f"{host.target.address.rpartition('.')[0]}.253"  # of this machine, in the lab
    way = type("Way", (_Forward,), {"archive": archive})
    server = http.server.ThreadingHTTPServer((here, 0), way)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        line = f"deb http://{here}:{server.server_port} {suite} main\n"
        host.put("/etc/apt/sources.list", line)
        yield
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


# What stands for a Raspberry Pi's firmware, which no test machine has: at boot the kernel's
# command line is the file's line behind `cgroup_disable=memory`, and the memory control group is
# there exactly where the line turns it on. Everything that reads them is real.
FIRMWARE = """#!/bin/sh
line="cgroup_disable=memory $(head -n 1 /boot/firmware/cmdline.txt)"
printf '%s\\n' "$line" >/run/cmdline
case " $line " in
*" cgroup_enable=memory "*) echo cpu memory pids >/run/controllers ;;
*) echo cpu pids >/run/controllers ;;
esac
mount --bind /run/cmdline /proc/cmdline
mount --bind /run/controllers /sys/fs/cgroup/cgroup.controllers
"""
FIRMWARE_UNIT = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/pi-firmware
[Install]
WantedBy=ssh.service
[Unit]
Before=ssh.service
"""
COMMAND_LINE = "console=serial0,115200 root=PARTUUID=4b2c-02  rootfstype=ext4 rootwait quiet\n"


def make_it_a_pi(host: RealHost) -> None:
    host.put("/boot/firmware/cmdline.txt", COMMAND_LINE)
    host.put("/usr/local/sbin/pi-firmware", FIRMWARE, "755")
    host.put("/etc/systemd/system/pi-firmware.service", FIRMWARE_UNIT)
    host.shell("systemctl enable --now pi-firmware.service")
