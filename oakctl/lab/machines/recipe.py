"""What a base image is made of, and what makes one host of it. Pure.

Belongs here: packages, the script that finishes an image, the files of a host. Does not belong
here: building (`image`), booting (`boot`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from oakctl.errors import UsageError
from oakctl.lab.machines.lab_file import Arch, MachineHost, Sudo, Suite

USER = "oak"
USER_ID = 1000

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "python3"),
    *("ca-certificates", "iproute2", "iputils-ping", "nftables", "procps"),
)
_DOCKER_PACKAGES = ("docker.io", "iptables")
# From trixie on the engine and the `docker` command are two packages.
_DOCKER_COMMAND = {Suite.TRIXIE: ("docker-cli",)}

# systemd-networkd would take away the addresses that the lab gave; what debootstrap copies from
# the machine (resolv.conf, hostname) and what must differ from host to host goes. A
# host can load no kernel modules, and a unit that always fails would make it `degraded`.
_FINISH = f"""
set -eu
for unit in systemd-networkd.service systemd-networkd.socket \\
        systemd-networkd-wait-online.service systemd-modules-load.service \\
        console-getty.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
useradd --create-home --shell /bin/bash --uid {USER_ID} {USER}
usermod --append --groups sudo {USER}
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /etc/resolv.conf
: > /etc/machine-id
: > /etc/resolv.conf
printf 'LANG=C.UTF-8\\n' > /etc/default/locale
mkdir -p /var/log/journal
rm -rf /var/cache/apt/archives/*.deb /var/log/bootstrap.log
"""

_DOCKER_FINISH = f"""
usermod --append --groups docker {USER}
"""

# At boot the hosts' /proc/sys and version 1 controllers are read-only; an engine writes them.
# Each mount is changed alone (`bind`): the controllers are the whole machine's, and in use.
_DOCKER_PREPARE = b"""#!/bin/sh
mount -o remount,rw,bind /proc/sys
for controller in /sys/fs/cgroup/*/; do
    mount -o remount,rw,bind "$controller" || true
done
"""
_DOCKER_DROP_IN = b"[Service]\nExecStartPre=-/usr/local/sbin/lab-docker-prepare\n"


@dataclass(frozen=True)
class Recipe:
    """A base image. Its `key` changes when anything does that goes into it."""

    suite: Suite
    docker: bool
    architecture: str  # as `uname -m` says it there
    foreign: str = ""  # Debian's word for it where this machine can't run it by itself

    @property
    def packages(self) -> tuple[str, ...]:
        """What is installed beside the least that Debian can be."""
        if not self.docker:
            return _PACKAGES
        return (*_PACKAGES, *_DOCKER_PACKAGES, *_DOCKER_COMMAND.get(self.suite, ()))

    @property
    def finish(self) -> str:
        """The shell script that is run in the image when it is installed."""
        return _FINISH + (_DOCKER_FINISH if self.docker else "")

    @property
    def key(self) -> str:
        """The name of the image in the cache."""
        parts = (self.suite.value, self.architecture, " ".join(self.packages), self.finish)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        words = (self.suite.value, "docker" if self.docker else "", self.foreign, digest)
        return "-".join(word for word in words if word)

    def debootstrap(self, root: str, mirror: str) -> tuple[str, ...]:
        """The argument list that installs the image at `root`, or unpacks it when `foreign`."""
        foreign = (f"--arch={self.foreign}", "--foreign") if self.foreign else ()
        return (
            *("debootstrap", "--variant=minbase", f"--include={','.join(self.packages)}"),
            *(*foreign, self.suite.value, root, mirror),
        )


# In a foreign image: what debootstrap left to be done by the image's own programs.
SECOND_STAGE = ("/debootstrap/debootstrap", "--second-stage")

_ARCHITECTURES = {Arch.ARM64: ("aarch64", "arm64")}
# Later ones have a systemd that starts everything by a call which qemu refuses (CLONE_PIDFD).
_EMULATED = (Suite.BOOKWORM, Suite.BULLSEYE)


def recipe(host: MachineHost, machine: str) -> Recipe:
    """The base of `host` on a machine of that architecture.

    Raises UsageError for a release that does not boot where it is emulated.
    """
    architecture, word = _ARCHITECTURES.get(host.arch, (machine, ""))
    foreign = word if architecture != machine else ""
    if foreign and host.suite not in _EMULATED:
        raise UsageError(
            f"host {host.name}: Debian {host.suite.value} for {foreign} does not boot emulated",
            hint=f"{{name: {host.name}, arch: {foreign}, suite: {_EMULATED[0].value}}}",
        )
    return Recipe(host.suite, host.docker, architecture, foreign)


@dataclass(frozen=True)
class HostFile:
    """A file that makes a host itself; `user`: it belongs to the hosts' user."""

    path: str  # below the host's root
    body: bytes
    mode: int = 0o644
    user: bool = False


@dataclass(frozen=True)
class Identity:
    """What tells a host from every other; new when it is reflashed. Keys as OpenSSH has them."""

    machine_id: str
    host_key: bytes
    host_key_public: bytes
    login_public: bytes


def host_files(host: MachineHost, identity: Identity) -> tuple[HostFile, ...]:
    """What is written into a host before its first boot, beside the user's password."""
    asks = "" if host.sudo is Sudo.PASSWORD else "NOPASSWD: "
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n::1 localhost\n"
    key = "etc/ssh/ssh_host_ed25519_key"
    engine = (
        HostFile("usr/local/sbin/lab-docker-prepare", _DOCKER_PREPARE, 0o755),
        HostFile("etc/systemd/system/docker.service.d/lab.conf", _DOCKER_DROP_IN),
    )
    return (
        *(engine if host.docker else ()),
        HostFile("etc/hostname", f"{host.name}\n".encode()),
        HostFile("etc/hosts", hosts.encode()),
        HostFile("etc/machine-id", f"{identity.machine_id}\n".encode(), 0o444),
        HostFile(key, identity.host_key, 0o600),
        HostFile(f"{key}.pub", identity.host_key_public),
        HostFile("etc/sudoers.d/lab", f"{USER} ALL=(ALL:ALL) {asks}ALL\n".encode(), 0o440),
        HostFile(f"home/{USER}/.ssh/authorized_keys", identity.login_public, 0o600, user=True),
    )
