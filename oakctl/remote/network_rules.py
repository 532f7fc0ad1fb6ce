"""What stands in the way of containers and connections on one host. Pure.

Belongs here: rules about Docker, the kernel's network and its rules, firewalls, ports. Does not
belong here: whether hosts reach each other, which is tried (`reachability`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.config import BUS_PORT
from oakctl.model.views import HostFinding
from oakctl.remote.equipment import Place
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import FIXABLE, NOTE

NO_LAYERS = ("overlay", "aufs", "nfs", "nfs4", "9p", "virtiofs", "ecryptfs", "cifs", "vfat")
# Docker's name of a processor; "arm" is both 32-bit ones.
ARM_V6_TOO = "arm"
DOCKER_CALLS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686"}
RAW_SINCE = 28  # Docker publishes ports by the kernel's iptable_raw since this version


def docker(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    docker = facts.docker
    if not docker.installed:
        yield HostFinding(
            host, NOTE, "docker", "Docker is not installed", "sudo apt-get install docker.io"
        )
        return
    if not docker.version:
        yield HostFinding(
            host, NOTE, "docker", "Docker does not answer", "sudo systemctl enable --now docker"
        )
        return
    yield from _engine_architecture(host, facts)
    yield from _images(
        host, docker.storage_driver, docker.images if docker.images.kind else facts.root_place
    )
    if facts.l4t and "nvidia" not in docker.runtimes:
        yield HostFinding(
            host,
            FIXABLE,
            "docker",
            "Docker does not know the NVIDIA runtime",
            "sudo apt-get install nvidia-container && sudo nvidia-ctk runtime configure "
            "&& sudo systemctl restart docker",
        )


def _engine_architecture(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    runs = DOCKER_CALLS.get(facts.docker.architecture, facts.docker.architecture)
    if runs and facts.architecture and runs not in (facts.architecture, ARM_V6_TOO):
        yield HostFinding(
            host,
            NOTE,
            "docker",
            f"its Docker is built for {runs} and its programs for {facts.architecture}: "
            "images go by the first, other programs by the second",
            "",
        )


def _images(host: str, driver: str, place: Place) -> Iterator[HostFinding]:
    remedy = 'give it an ext4 file system of its own: {"data-root": "/DISK"} in daemon.json'
    if driver == "vfs":
        yield HostFinding(
            host,
            NOTE,
            "docker",
            f"images lie on {place.kind or 'this file system'} by the driver vfs: "
            "each layer is copied whole",
            remedy,
        )
    elif place.kind in NO_LAYERS and "fuse" not in driver:
        yield HostFinding(
            host,
            FIXABLE,
            "docker",
            f"images lie on {place.kind}, on which {driver or 'overlayfs'} cannot stack layers: "
            "images are not unpacked",
            f"{remedy}, or use the driver fuse-overlayfs (vfs works too, and is slow)",
        )
    if place.read_only:
        yield HostFinding(
            host, FIXABLE, "docker", "its images lie on a read-only file system", remedy
        )


def kernel(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    """What the kernel lacks, a vendor's above all, and what follows from that."""
    network = facts.network
    if network.wireguard == "missing":
        way = "in userspace" if network.wireguard_userspace or network.tun else "nowhere"
        why = " (there is no /dev/net/tun either)" if way == "nowhere" else ""
        yield HostFinding(
            host, NOTE, "network", f"the kernel has no WireGuard: an overlay goes {way}{why}"
        )
    if network.nftables in ("missing", "does not work"):
        word = "is missing" if network.nftables == "missing" else "does not work with this kernel"
        yield HostFinding(
            host, NOTE, "network", f"nft {word}: rules go through iptables-legacy", ""
        )
    if network.iptable_raw == "no" and "tegra" in facts.kernel_release:
        yield from _ports(host, facts.docker.version)


def _ports(host: str, docker: str) -> Iterator[HostFinding]:
    major = docker.partition(".")[0]
    if major.isdigit() and int(major) < RAW_SINCE:
        return
    what = docker if major.isdigit() else f"{RAW_SINCE} and later"
    yield HostFinding(
        host,
        FIXABLE if major.isdigit() else NOTE,
        "docker",
        f"Docker {what} cannot publish ports: this kernel has no iptable_raw",
        "install Docker 27, or set DOCKER_INSECURE_NO_IPTABLES_RAW=1 for the docker service",
    )


def network(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    network = facts.network
    if network.legacy_rules and network.nft_rules:
        yield HostFinding(
            host,
            FIXABLE,
            "network",
            f"there are rules in both iptables: {network.legacy_rules} legacy, "
            f"{network.nft_rules} nf_tables; each is unaware of the other",
            "see which are needed: sudo iptables-legacy-save; sudo iptables-nft-save",
        )
    if network.forward_policy == "DROP":
        yield HostFinding(
            host,
            NOTE,
            "network",
            "forwarded packets are dropped (FORWARD policy DROP, as Docker sets it)",
            "what is ours has to be accepted in the chain DOCKER-USER",
        )


# What lets the bus through, by the firewall that is active.
OPENINGS = {
    "ufw": f"sudo ufw allow {BUS_PORT}/tcp",
    "firewalld": f"sudo firewall-cmd --permanent --add-port={BUS_PORT}/tcp "
    "&& sudo firewall-cmd --reload",
}


def firewalls(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    for name in facts.network.firewalls:
        yield HostFinding(
            host,
            FIXABLE,
            "firewall",
            f"{name} is active: workers do not reach a bus here",
            OPENINGS.get(name, ""),
        )


def input_policy(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    """Rules that nobody calls a firewall, and that are one."""
    if facts.network.drops_input and not facts.network.firewalls:
        yield HostFinding(
            host,
            NOTE,
            "firewall",
            "its rules drop what they do not let in: workers reach a bus here only if port "
            f"{BUS_PORT} is let in",
            f"try it: oakctl host check --orchestrator {host} HOST...",
        )


def ports(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    listener = facts.listener_on("0.0.0.0")
    if listener is not None and "oakctl" not in listener.command:
        who = f"process {listener.pid} ({listener.command})" if listener.pid else "a process"
        yield HostFinding(
            host,
            FIXABLE,
            "port",
            f"port {BUS_PORT} is in use by {who}: no bus can listen there",
            f"on it: sudo ss -ltnp 'sport = :{BUS_PORT}', end what is there",
        )
