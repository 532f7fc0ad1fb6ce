"""What is found out about a host before anything is done to it: one script, one answer.

Belongs here: asking, when it was asked, and which Python will do. Does not belong here: the
questions (`questions`), reading single answers (`answers`), and what follows from them
(`residence`, `preflight`, the playbooks).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oakctl.errors import OakError
from oakctl.remote import answers
from oakctl.remote.answers import Answers
from oakctl.remote.equipment import (
    CommandLine,
    Control,
    Docker,
    Install,
    Listener,
    Network,
    Place,
)
from oakctl.remote.questions import FIREWALL, SCRIPT

if TYPE_CHECKING:
    from oakctl.remote.step import Remote

OLDEST_PYTHON = (3, 10)
PYTHONS = (  # where one may be, best first
    "python3",
    *(f"python3.{minor}" for minor in range(14, 9, -1)),
    "/usr/bin/python3",
    "/usr/local/bin/python3",
)
CLOCK_STEP_S = 1.0  # a host tells whole seconds
PROBE_DEADLINE_S = 60.0  # a Pi with a slow card takes seconds for its first Python

# What `dpkg --print-architecture` and the machine field of an ELF header call a userland: a
# 64-bit kernel often runs a 32-bit one, so that `uname -m` is the last resort.
DEBIAN = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686"}
SIGNALS = ("kernel", "dpkg", "elf", "long_bit")
ELF = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


@dataclass(frozen=True)
class HostFacts:
    """A host, as it was when it was asked. Texts come from the host and are not to be trusted."""

    hostname: str = ""
    user: str = ""
    uid: int = -1
    home: str = ""
    architecture: str = ""  # of the userland: x86_64, aarch64, armv7l
    system: str = ""  # "Debian GNU/Linux 12 (bookworm)"
    python: str = ""  # the best of its own Pythons, absolute; empty: none is good enough
    python_version: str = ""
    python_reason: str = ""  # why none is good enough
    python_there: str = ""  # the one that we pushed earlier; empty also where nobody looked
    libc: str = ""  # "glibc", "musl"; empty: it does not say
    supervisor: str = ""  # "plain:SOCKET", "systemd", or empty
    environment: Mapping[str, str] = field(default_factory=dict)  # OAKCTL_* of the session
    cpus: int = 0
    memory_mb: int = 0  # MiB, in all
    disk_free_mb: int = 0  # MiB, where the home directory is
    home_writable: bool = False
    listeners: tuple[Listener, ...] = ()  # on the bus's port
    clock: float = 0.0  # the host's seconds since the epoch, when ...
    asked_at: float = 0.0  # ... the operator's clock said this, give or take ...
    clock_error_s: float = 0.0  # ... so much
    clock_after: float = 0.0  # the host's, at the end of its answer
    groups: tuple[str, ...] = ()
    machine_id: str = ""
    host_keys: tuple[str, ...] = ()  # "type base64", of the SSH server
    addresses: tuple[str, ...] = ()  # by which others may reach this host
    reached_address: str = ""  # the address of this host that our connection came to
    signals: tuple[str, ...] = ()  # of what the architecture was concluded from
    kernel: str = ""  # machine: "aarch64"
    kernel_release: str = ""  # "5.10.104-tegra"
    distribution: str = ""  # "debian", "raspbian", "ubuntu"
    version: str = ""  # "12", "22.04"
    raspberry_pi_os: bool = False
    device: str = ""  # "Raspberry Pi 5 Model B Rev 1.0", "NVIDIA Jetson Orin Nano"
    l4t: str = ""  # "35.3.1" on a Jetson
    init: str = ""  # the name of process 1
    systemd_version: int = 0
    user_manager: bool = False  # `systemctl --user` answers
    lingers: bool = False  # the user's units run without a session
    privilege: str = ""  # root, sudo (asks nothing), sudo-password, doas, doas-password, or none
    sudo_version: str = ""
    sudo_refusal: str = ""  # what sudo said when it was not to ask
    opt: Place = Place()  # where /opt/oakctl is or would be
    home_place: Place = Place()
    root_place: Place = Place()
    docker: Docker = Docker()
    network: Network = Network()
    control: Control = Control()
    command_line: CommandLine = CommandLine()
    gpus: tuple[str, ...] = ()  # "NVIDIA GeForce RTX 3080, 10240 MiB", "Jetson integrated"
    tpus: tuple[str, ...] = ()
    package_lock: str = ""  # "1234 unattended-upgr": who holds dpkg's lock
    packages_interrupted: bool = False  # an installation of packages ended half-way
    first_boot: bool = False  # cloud-init has not ended yet
    installs: tuple[Install, ...] = ()  # of ours, already there

    @property
    def every_address(self) -> str:
        """What to listen on for all addresses of this host; with IPv6 where we came by it."""
        return "::" if ":" in self.reached_address else "0.0.0.0"

    def listener_on(self, address: str) -> Listener | None:
        """Who has the bus's port on `address` or on all addresses; empty: on any."""
        for listener in self.listeners:
            if not address or listener.address in (address, "0.0.0.0", "::"):
                return listener
        return None


def probe(remote: Remote) -> HostFacts:
    """Ask the host; raises OakError when its answer is cut off, Unreachable when it is gone."""
    nonce = secrets.token_hex(8)
    sent_at = time.time()
    answer = remote.as_login(
        f"sh -s {nonce} {' '.join(PYTHONS)}",
        stdin=SCRIPT.encode(),
        timeout_s=PROBE_DEADLINE_S,
        check=False,
    )
    try:
        return timed(parse(answer.stdout, nonce), sent_at, time.time())
    except OakError as error:
        raise OakError(f"{remote.name}: {error.message}", details=answer.last_lines()) from error


def with_firewall(remote: Remote, found: HostFacts) -> HostFacts:
    """`found` with what the superuser alone is told of the firewall's rules.

    For a host whose sudo asks for a password, which was given: the first questions never use it.
    Raises as `Remote.root` does, and OakError when the answer is cut off.
    """
    nonce = secrets.token_hex(8)
    answer = remote.root(
        f"sh -s {nonce}", stdin=FIREWALL.encode(), timeout_s=PROBE_DEADLINE_S, check=False
    )
    try:
        rules = answers.firewall(answers.find(answer.stdout, nonce))
    except OakError as error:
        raise OakError(f"{remote.name}: {error.message}", details=answer.last_lines()) from error
    return replace(
        found,
        network=replace(
            found.network,
            forward_policy=rules.forward_policy,
            legacy_rules=rules.legacy_rules,
            nft_rules=rules.nft_rules,
            drops_input=rules.drops_input,
        ),
    )


def parse(text: str, nonce: str) -> HostFacts:
    """Read the script's answer, whatever a login shell printed around it; raises OakError."""
    return _facts(answers.find(text, nonce))


def timed(facts: HostFacts, sent_at: float, received_at: float) -> HostFacts:
    """`facts` with when they were asked for, by the operator's clock.

    As NTP does it: the host's clock at the middle of its answer belongs to the middle between
    question and answer here; what the way there and back took is the most that this is wrong by.
    """
    took_there = max(0.0, facts.clock_after - facts.clock) if facts.clock_after else 0.0
    on_the_way = max(0.0, received_at - sent_at - took_there)
    return replace(
        facts,
        clock=facts.clock + took_there / 2,
        asked_at=(sent_at + received_at) / 2,
        clock_error_s=on_the_way / 2 + CLOCK_STEP_S,
    )


def _facts(told: Answers) -> HostFacts:
    one, number = told.one, told.number
    environment = answers.environment(told)
    python, version, reason = choose_python(told.all("python"))
    return HostFacts(
        hostname=one("hostname"),
        user=answers.word(one("user")),
        uid=number("uid", -1),
        groups=tuple(one("groups").split()),
        home=one("home"),
        machine_id=one("machine_id"),
        host_keys=told.all("host_key"),
        reached_address=answers.address(one("reached")),
        addresses=answers.addresses(one("addresses")),
        architecture=_architecture(
            answers.word(one("dpkg")), one("elf"), answers.word(one("kernel"))
        ),
        signals=tuple(f"{key} {one(key)}" for key in SIGNALS if one(key)),
        kernel=one("kernel"),
        kernel_release=one("kernel_release"),
        system=one("system"),
        distribution=one("distribution"),
        version=one("version"),
        raspberry_pi_os=told.is_yes("raspbian"),
        device=one("device"),
        l4t=answers.l4t(one("l4t"), one("l4t_package")),
        python=python,
        python_version=version,
        python_reason=reason,
        libc=one("libc"),
        supervisor=environment.get("OAKCTL_SUPERVISOR", "")
        or ("systemd" if one("init") == "systemd" else ""),
        init=one("init"),
        systemd_version=answers.systemd_version(one("systemd_version")),
        user_manager=told.is_yes("user_manager"),
        lingers=told.is_yes("lingers"),
        privilege=one("privilege") or one("privilege_other"),
        sudo_version=one("sudo_version"),
        sudo_refusal=one("sudo_refusal"),
        environment=environment,
        cpus=number("cpus"),
        memory_mb=number("memory_kb") // 1024,
        disk_free_mb=number("disk_kb") // 1024,
        home_writable=told.is_yes("writable"),
        home_place=answers.place(told, "disk"),
        opt=answers.place(told, "opt"),
        root_place=answers.place(told, "root"),
        docker=answers.docker(told),
        network=answers.network(told),
        control=answers.control(told),
        command_line=answers.command_line(told),
        gpus=answers.gpus(told),
        tpus=tuple(one("coral").split()),
        package_lock=one("package_lock"),
        packages_interrupted=told.is_yes("packages_interrupted"),
        first_boot=told.is_yes("first_boot"),
        listeners=tuple(answers.listener(line) for line in told.all("listen")),
        installs=answers.installs(told),
        clock=float(number("clock")),
        clock_after=float(number("clock_after")),
    )


def choose_python(candidates: Iterable[str]) -> tuple[str, str, str]:
    """Path and version of the first interpreter that is good enough, or else why none is.

    Each candidate is a line "path TAB executable TAB version TAB what it lacks".
    """
    reasons = []
    for line in candidates:
        path, *answer = line.split("\t")
        version = answer[1] if len(answer) == 3 else ""
        if not re.fullmatch(r"\d+\.\d+\.\d+", version):
            reasons.append(f"{path} does not run: {' '.join(answer) or 'no answer'}")
        elif tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
            reasons.append(f"{path} is {version}, too old: 3.10 is the oldest that will do")
        elif answer[2]:
            reasons.append(f"{path} is {answer[2]}")
        else:
            return answer[0] or path, version, ""
    return "", "", "; ".join(reasons) or "python3 is missing"


def _architecture(dpkg: str, elf: str, kernel: str) -> str:
    if kernel == "armv6l":  # what Debian calls armhf needs more; Raspbian's runs on it
        return kernel
    if dpkg:
        return DEBIAN.get(dpkg, dpkg)
    if re.fullmatch("7f454c46[0-9a-f]{32}", elf):
        header = bytes.fromhex(elf)
        machine = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
        return ELF.get(machine, kernel)
    return kernel
