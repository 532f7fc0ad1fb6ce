"""What stands in the way on hosts, and what to type: from the facts of all of them. Pure.

Belongs here: the rules for one host, each a function. Does not belong here: what shows only among
several (`fleet_check`), asking hosts (`facts`), doing anything about a finding (the playbooks).

Severities: `block` - nothing can be done with the host as it is; `fixable` - something will not
work until the remedy is applied; `note` - worth knowing, nothing has to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from oakctl.errors import OakError
from oakctl.model.config import BUS_PORT
from oakctl.model.views import HostFinding
from oakctl.remote import interpreter, raspberry_pi, residence
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import Interpreter, NoInterpreter, PythonArchive
from oakctl.remote.residence import Homeless, Residence

BLOCK, FIXABLE, NOTE = "block", "fixable", "note"
SERVED_BY_NATS = ("x86_64", "aarch64")
RAW_SINCE = 28  # Docker publishes ports by the kernel's iptable_raw since this version

Rule = Callable[[str, HostFacts], Iterator[HostFinding]]


def check(
    host: str,
    facts: HostFacts,
    *,
    password_given: bool = False,
    archives: Iterable[PythonArchive] = (),
) -> list[HostFinding]:
    """Everything that shows on this host alone, worst first. `archives`: what could be pushed."""
    found = [finding for rule in RULES for finding in rule(host, facts)]
    found += _python(host, facts, archives, password_given)
    found += _residence(host, facts, password_given)
    return in_order(found)


def in_order(findings: list[HostFinding]) -> list[HostFinding]:
    """Worst first, otherwise as found."""
    return sorted(findings, key=lambda finding: (BLOCK, FIXABLE, NOTE).index(finding.severity))


def _residence(host: str, facts: HostFacts, password_given: bool) -> Iterator[HostFinding]:
    chosen = residence.choose(facts, password_given=password_given)
    try:
        residence.require_usable(host, facts, chosen)
    except OakError as error:
        reason = error.message.removeprefix(f"{host}: ")
        topic = "host" if isinstance(chosen, Homeless) else "disk"
        yield HostFinding(host, BLOCK, topic, reason, error.hint)
    if isinstance(chosen, Residence):
        yield HostFinding(
            host, NOTE, "host", f"{chosen.supervisor}, below {chosen.prefix}: {chosen.reason}", ""
        )
        yield from _rights(host, facts, chosen, password_given)
        yield from _no_exec(host, facts, chosen)


def _python(
    host: str, facts: HostFacts, archives: Iterable[PythonArchive], password_given: bool
) -> Iterator[HostFinding]:
    chosen = interpreter.choose(facts, archives, facts.python_there)
    home = residence.choose(facts, password_given=password_given)
    hindrance: NoInterpreter | None = None
    if isinstance(chosen, NoInterpreter):
        hindrance = chosen
    elif isinstance(home, Residence):
        place = residence.place_of(facts, home)
        hindrance = interpreter.hindrance(chosen, place, home.prefix)
    if hindrance is not None:
        yield HostFinding(host, BLOCK, "python", hindrance.reason, hindrance.remedy)
    elif isinstance(chosen, Interpreter) and not chosen.own:
        yield HostFinding(host, NOTE, "python", chosen.reason, "")


def _rights(
    host: str, facts: HostFacts, chosen: Residence, password_given: bool
) -> Iterator[HostFinding]:
    refusal = facts.sudo_refusal
    if facts.privilege == "sudo-password" and ("tty" in refusal or "terminal is req" in refusal):
        yield HostFinding(
            host,
            BLOCK,
            "sudo",
            "sudo wants a terminal (requiretty)",
            f"on it, as root: echo 'Defaults:{facts.user} !requiretty' >/etc/sudoers.d/90-oakctl",
        )
    elif chosen.as_root and facts.privilege == "sudo-password" and not password_given:
        yield HostFinding(
            host, NOTE, "sudo", f"sudo asks {facts.user} for a password", "it is asked for, once"
        )
    if chosen.supervisor == residence.USER and not facts.lingers:
        yield HostFinding(
            host,
            NOTE,
            "systemd",
            f"processes of {facts.user} end with the session as it is",
            "it is changed while the host is set up (loginctl enable-linger)",
        )


def _no_exec(host: str, facts: HostFacts, chosen: Residence) -> Iterator[HostFinding]:
    if residence.place_of(facts, chosen).no_exec:
        yield HostFinding(
            host,
            FIXABLE,
            "disk",
            f"programs do not start below {chosen.prefix}: it is mounted noexec; "
            "the bus of a cluster is one",
            "use it as a worker, or mount it without noexec in /etc/fstab",
        )


def _architecture(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    said = ", ".join(facts.signals)
    if facts.architecture == "armv6l":
        yield HostFinding(
            host,
            BLOCK,
            "architecture",
            f"ARMv6 has no supported Docker and no packages of ours ({said})",
            "use a Raspberry Pi 2 or newer",
        )
        return
    narrow = (facts.kernel, facts.architecture) in (("aarch64", "armv7l"), ("x86_64", "i686"))
    if narrow:
        yield HostFinding(
            host,
            NOTE,
            "architecture",
            f"a 64-bit kernel with 32-bit programs: it counts as {facts.architecture} ({said})",
            "install the 64-bit edition of its system to run 64-bit programs",
        )
    elif facts.kernel and facts.architecture and facts.kernel not in _spelt(facts.architecture):
        yield HostFinding(
            host,
            FIXABLE,
            "architecture",
            f"its signs disagree, it is taken for {facts.architecture}: {said}",
            "reinstall its system if programs do not start",
        )
    if facts.architecture not in SERVED_BY_NATS:
        yield HostFinding(
            host,
            NOTE,
            "architecture",
            f"there is no bus server for {facts.architecture or 'its architecture'}",
            "use it as a worker; orchestrators need x86_64 or aarch64",
        )


def _spelt(architecture: str) -> tuple[str, ...]:
    more = {"x86_64": ("amd64",), "aarch64": ("arm64",), "i686": ("i386", "i586")}
    return (architecture, *more.get(architecture, ()), *(("armv8l",) * ("arm" in architecture)))


def _memory_groups(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.control.memory or not facts.control.version:
        return
    message = "the memory control group is off: memory limits are not enforced"
    line = facts.command_line
    if not line.file:
        yield HostFinding(
            host, NOTE, "memory", message, "boot with cgroup_enable=memory on the command line"
        )
    elif raspberry_pi.enables_memory(line.text):
        yield HostFinding(
            host,
            FIXABLE,
            "memory",
            f"{message}, although {line.file} turns it on",
            "sudo rpi-eeprom-update -a && sudo apt full-upgrade && sudo reboot",
        )
    else:
        yield HostFinding(host, FIXABLE, "memory", message, raspberry_pi.remedy(line.file))
    if line.lines > 1:
        yield HostFinding(
            host,
            FIXABLE,
            "memory",
            f"{line.file} has {line.lines} lines, and the kernel reads the first alone",
            f"sudo editor {line.file}: put everything on its first line",
        )


def _docker(host: str, facts: HostFacts) -> Iterator[HostFinding]:
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
    major = int(docker.version.partition(".")[0])
    if major >= RAW_SINCE and "tegra" in facts.kernel_release and facts.network.iptable_raw == "no":
        yield HostFinding(
            host,
            FIXABLE,
            "docker",
            f"Docker {docker.version} cannot publish ports: this kernel has no iptable_raw",
            "install Docker 27, or set DOCKER_INSECURE_NO_IPTABLES_RAW=1 for the docker service",
        )
    if docker.storage_driver == "vfs" or facts.root_place.kind in ("overlay", "nfs", "nfs4"):
        yield HostFinding(
            host,
            NOTE,
            "docker",
            f"images lie on {facts.root_place.kind or 'this file system'} by the driver "
            f"{docker.storage_driver}: slow, and they take more space",
            "give it an ext4 file system of its own: data-root in /etc/docker/daemon.json",
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


def _network(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    network = facts.network
    if network.wireguard == "missing":
        way = "in userspace" if network.wireguard_userspace else "through a relay"
        yield HostFinding(
            host,
            NOTE,
            "network",
            f"the kernel has no WireGuard: an overlay goes {way}",
            "" if network.wireguard_userspace else "sudo apt-get install wireguard-go",
        )
    if network.nftables in ("missing", "does not work"):
        word = "is missing" if network.nftables == "missing" else "does not work with this kernel"
        yield HostFinding(
            host, NOTE, "network", f"nft {word}: rules go through iptables-legacy", ""
        )
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


def _firewalls(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    openings = {
        "ufw": f"sudo ufw allow {BUS_PORT}/tcp",
        "firewalld": f"sudo firewall-cmd --permanent --add-port={BUS_PORT}/tcp "
        "&& sudo firewall-cmd --reload",
    }
    for name in facts.network.firewalls:
        yield HostFinding(
            host,
            FIXABLE,
            "firewall",
            f"{name} is active: workers do not reach a bus here",
            openings.get(name, ""),
        )


def _ports(host: str, facts: HostFacts) -> Iterator[HostFinding]:
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


def _packages(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.package_lock:
        yield HostFinding(
            host,
            NOTE,
            "packages",
            f"packages are being installed by process {facts.package_lock}",
            "it is left to end; a step that installs packages waits for it",
        )


def _devices(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.device or facts.l4t:
        release = f", L4T {facts.l4t}" if facts.l4t else ""
        yield HostFinding(host, NOTE, "device", f"{facts.device or 'Jetson'}{release}", "")
    for gpu in facts.gpus:
        shared = "; its memory is the system's" if "integrated" in gpu else ""
        yield HostFinding(host, NOTE, "gpu", f"{gpu}{shared}", "")
    for tpu in facts.tpus:
        yield HostFinding(host, NOTE, "tpu", f"Coral accelerator at {tpu}", "")


RULES: tuple[Rule, ...] = (
    _architecture,
    _memory_groups,
    _docker,
    _network,
    _firewalls,
    _ports,
    _packages,
    _devices,
)
