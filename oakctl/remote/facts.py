"""What is found out about a host before anything is done to it: one script, one answer.

Belongs here: how the answer is read (pure), and whether the host can be used at all. Does not
belong here: the questions (`questions`), and what follows from the answers (`residence`,
`preflight`, the playbooks).
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oakctl.errors import OakError
from oakctl.remote.questions import SCRIPT

if TYPE_CHECKING:
    from oakctl.remote.step import Remote

OLDEST_PYTHON = (3, 10)
PYTHONS = (  # where one may be, best first
    "python3",
    *(f"python3.{minor}" for minor in range(14, 9, -1)),
    "/usr/bin/python3",
    "/usr/local/bin/python3",
)
PROBE_DEADLINE_S = 60.0  # a Pi with a slow card takes seconds for its first Python

# What `dpkg --print-architecture` and the machine field of an ELF header call a userland: a
# 64-bit kernel often runs a 32-bit one, so that `uname -m` is the last resort.
DEBIAN = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686"}
SIGNALS = ("kernel", "dpkg", "elf", "long_bit")
ELF = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


@dataclass(frozen=True)
class Listener:
    """Who has the bus's port. `pid` is 0 where it belongs to another user."""

    address: str  # "0.0.0.0", "::", "127.4.0.1"
    pid: int = 0
    command: str = ""


@dataclass(frozen=True)
class Place:
    """A file system that we would live on. -1: it does not say."""

    free_mb: int = 0  # MiB
    inodes: int = -1  # in all; 0: this kind has no fixed number
    inodes_free: int = -1
    kind: str = ""  # "ext4", "overlay", "nfs4"
    options: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return "ro" in self.options

    @property
    def no_exec(self) -> bool:
        """Whether programs there do not start."""
        return "noexec" in self.options


@dataclass(frozen=True)
class Docker:
    """The engine's answer, where there is an engine."""

    installed: bool = False
    version: str = ""  # empty: it does not answer us
    architecture: str = ""  # of the engine: amd64, arm64, arm
    runtimes: tuple[str, ...] = ()
    storage_driver: str = ""
    root_directory: str = ""
    engine_id: str = ""


@dataclass(frozen=True)
class Network:
    """What the kernel and its tools can do; empty: it could not be found out without rights."""

    wireguard: str = ""  # "kernel", "missing"
    wireguard_userspace: bool = False  # a program for it, and /dev/net/tun
    nftables: str = ""  # "yes", "missing", "does not work"
    iptables: str = ""  # "nf_tables", "legacy"
    forward_policy: str = ""  # of iptables' FORWARD: "ACCEPT", "DROP"
    legacy_rules: int = 0
    nft_rules: int = 0
    firewalls: tuple[str, ...] = ()  # that are active: "ufw", "firewalld"
    iptable_raw: str = ""  # "yes", "no"


@dataclass(frozen=True)
class Control:
    """Control groups, for limits."""

    version: str = ""  # "v1", "v2", "hybrid"
    memory: bool = False


@dataclass(frozen=True)
class CommandLine:
    """The kernel's command line of a Raspberry Pi, which is one line in a file."""

    file: str = ""
    lines: int = 0
    text: str = ""


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
    clock: float = 0.0  # the host's seconds since the epoch
    asked_at: float = 0.0  # the operator's clock when the answer came
    groups: tuple[str, ...] = ()
    machine_id: str = ""
    host_keys: tuple[str, ...] = ()  # "type base64", of the SSH server
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

    def listener_on(self, address: str) -> Listener | None:
        """Who has the bus's port on `address` or on all addresses; empty: on any."""
        for listener in self.listeners:
            if not address or listener.address in (address, "0.0.0.0", "::"):
                return listener
        return None


def probe(remote: Remote) -> HostFacts:
    """Ask the host; raises OakError when its answer is cut off, Unreachable when it is gone."""
    nonce = secrets.token_hex(8)
    answer = remote.as_login(
        f"sh -s {nonce} {' '.join(PYTHONS)}",
        stdin=SCRIPT.encode(),
        timeout_s=PROBE_DEADLINE_S,
        check=False,
    )
    try:
        return replace(parse(answer.stdout, nonce), asked_at=time.time())
    except OakError as error:
        raise OakError(f"{remote.name}: {error.message}", details=answer.last_lines()) from error


def parse(text: str, nonce: str) -> HostFacts:
    """Read the script's answer, whatever a login shell printed around it; raises OakError."""
    rest = text.partition(f"\nbegin {nonce}\n")[2]
    body, ended, _ = rest.partition(f"\nend {nonce}\n")
    if not rest or not ended:
        raise OakError("the host's answer to the first questions was cut off")
    values: dict[str, list[str]] = {}
    for line in body.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, []).append(value.strip(" "))
    return _facts(values)


def _facts(values: Mapping[str, list[str]]) -> HostFacts:
    def one(key: str) -> str:
        return values.get(key, [""])[0]

    environment = {
        key.removeprefix("env."): found[0]
        for key, found in values.items()
        if key.startswith("env.OAKCTL_")
    }
    python, version, reason = choose_python(values.get("python", ()))
    return HostFacts(
        hostname=one("hostname"),
        user=one("user"),
        uid=_number(one("uid"), -1),
        groups=tuple(one("groups").split()),
        home=one("home"),
        machine_id=one("machine_id"),
        host_keys=tuple(values.get("host_key", ())),
        reached_address=one("reached"),
        architecture=_architecture(one("dpkg"), one("elf"), one("kernel")),
        signals=tuple(f"{key} {one(key)}" for key in SIGNALS if one(key)),
        kernel=one("kernel"),
        kernel_release=one("kernel_release"),
        system=one("system"),
        distribution=one("distribution"),
        version=one("version"),
        raspberry_pi_os=one("raspbian") == "yes",
        device=one("device"),
        l4t=_l4t(one("l4t")),
        python=python,
        python_version=version,
        python_reason=reason,
        libc=one("libc"),
        supervisor=environment.get("OAKCTL_SUPERVISOR", "")
        or ("systemd" if one("init") == "systemd" else ""),
        init=one("init"),
        systemd_version=_number(re.sub(r"\D.*", "", one("systemd_version"))),
        user_manager=one("user_manager") == "yes",
        lingers=one("lingers") == "yes",
        privilege=one("privilege") or one("privilege_other"),
        sudo_version=one("sudo_version"),
        sudo_refusal=one("sudo_refusal"),
        environment=environment,
        cpus=_number(one("cpus")),
        memory_mb=_number(one("memory_kb")) // 1024,
        disk_free_mb=_number(one("disk_kb")) // 1024,
        home_writable=one("writable") == "yes",
        home_place=_place(one, "disk"),
        opt=_place(one, "opt"),
        root_place=_place(one, "root"),
        docker=_docker(one("docker"), one("docker_info")),
        network=_network(one, tuple(values.get("firewall", ()))),
        control=_control(one),
        command_line=_command_line(one("cmdline")),
        gpus=_gpus(one("nvidia"), one),
        tpus=tuple(one("coral").split()),
        package_lock=one("package_lock"),
        listeners=tuple(_listener(line) for line in values.get("listen", ())),
        clock=float(_number(one("clock"))),
    )


def _place(one: Callable[[str], str], key: str) -> Place:
    total, _, free = one(f"{key}_inodes").partition(" ")
    kind, _, options = one(f"{key}_mount").partition(" ")
    return Place(
        _number(one(f"{key}_kb")) // 1024,
        _number(total, -1),
        _number(free, -1),
        kind,
        tuple(option for option in options.split(",") if option),
    )


def _docker(answer: str, info: str) -> Docker:
    if not answer:
        return Docker()
    version, architecture = [*answer.split("\t"), ""][:2]
    if not re.match(r"\d+\.", version):
        return Docker(installed=True)
    runtimes, driver, root, engine = [*info.split("\t"), "", "", "", ""][:4]
    names = tuple(name for name in runtimes.split(",") if name)
    return Docker(True, version, architecture, names, driver, root, engine)


def _network(one: Callable[[str], str], firewalls: tuple[str, ...]) -> Network:
    flavour = re.search(r"\((nf_tables|legacy)\)", one("iptables"))
    policy = re.fullmatch(r"-P FORWARD (\w+)", one("forward"))
    legacy = "legacy" if one("iptables") else ""  # before 1.8 there was no other
    return Network(
        wireguard=one("wireguard"),
        wireguard_userspace=one("wireguard_userspace") == "yes" and one("tun") == "yes",
        nftables=one("nftables"),
        iptables=flavour.group(1) if flavour else legacy,
        forward_policy=policy.group(1) if policy else "",
        legacy_rules=_number(one("legacy_rules")),
        nft_rules=_number(one("nft_rules")),
        firewalls=firewalls,
        iptable_raw="yes" if _number(one("raw_table")) else one("iptable_raw"),
    )


def _control(one: Callable[[str], str]) -> Control:
    first, second = bool(one("cgroup1")), bool(one("cgroup2"))
    version = "hybrid" if first and second else "v2" if second else "v1" if first else ""
    # Version 2 says it in cgroup.controllers, version 1 in /proc/cgroups; either may have it.
    memory = "memory" in one("controllers").split() or (first and one("memory_cgroup") == "1")
    return Control(version, memory)


def _command_line(line: str) -> CommandLine:
    file, lines, text = [*line.split("\t"), "", ""][:3]
    return CommandLine(file, _number(lines), text)


def _gpus(nvidia: str, one: Callable[[str], str]) -> tuple[str, ...]:
    tegra = one("l4t") or "nvidia,tegra" in one("compatible") or "Jetson" in one("device")
    if tegra or one("tegra_gpu") == "yes":
        # nvidia-smi is absent on JetPack 5 and says "Not Supported" on 6; memory is the system's.
        return ("Jetson integrated",)
    rows = [row.split(",") for row in nvidia.split(";")]
    return tuple(f"{row[0].strip()}, {row[1].strip()}" for row in rows if len(row) >= 3)


def _l4t(line: str) -> str:
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", line)
    return f"{found.group(1)}.{found.group(2)}" if found else ""


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


def _listener(line: str) -> Listener:
    address, pid, command = [*line.split("\t"), "", ""][:3]
    return Listener(_address(address.partition(":")[0]), _number(pid), command.strip())


def _address(digits: str) -> str:
    """An address of /proc/net/tcp{,6}: 32-bit words, each in the order of the host's bytes."""
    if not re.fullmatch("([0-9A-F]{8}){1}|([0-9A-F]{8}){4}", digits):
        return digits
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _number(text: str, fallback: int = 0) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else fallback
