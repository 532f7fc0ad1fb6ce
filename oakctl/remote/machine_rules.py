"""What stands in the way in the machine and its system: processor, memory, packages. Pure.

Belongs here: rules for one host, each a function of its facts. Does not belong here: Docker and
the network (`network_rules`), where we would live there (`preflight`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.views import HostFinding
from oakctl.remote import raspberry_pi
from oakctl.remote.equipment import CommandLine
from oakctl.remote.facts import HostFacts
from oakctl.remote.findings import BLOCK, FIXABLE, NOTE
from oakctl.remote.raspberry_pi import State

SERVED_BY_NATS = ("x86_64", "aarch64")


def architecture(host: str, facts: HostFacts) -> Iterator[HostFinding]:
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


def memory_groups(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.control.memory or not facts.control.version:
        return
    line = facts.command_line
    yield _memory(host, line)
    if line.lines > 1:
        yield HostFinding(
            host,
            FIXABLE,
            "memory",
            f"{line.file} has {line.lines} lines, and the kernel reads the first alone",
            f"sudo editor {line.file}: put everything on its first line",
        )


def _memory(host: str, line: CommandLine) -> HostFinding:
    message = "the memory control group is off: memory limits are not enforced"
    if not line.file:
        remedy = "boot with cgroup_enable=memory on the command line"
        return HostFinding(host, NOTE, "memory", message, remedy)
    state = raspberry_pi.state(works=False, file_text=line.text, booted_with=line.booted_with)
    if state is State.NEXT_BOOT:
        message = f"{message}; {line.file} turns it on from the next boot on"
        return HostFinding(host, FIXABLE, "memory", message, "sudo reboot")
    if state is State.IGNORED:
        message = f"{message}, although it was booted with it: its firmware is old"
        return HostFinding(host, FIXABLE, "memory", message, raspberry_pi.FIRMWARE)
    return HostFinding(host, FIXABLE, "memory", message, _remedy(host, line.file))


def _remedy(host: str, file: str) -> str:
    by_hand = raspberry_pi.remedy(file)
    return f"oakctl playbook run raspberry_pi {host} --allow-reboot (or on it: {by_hand})"


def packages(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.package_lock:
        yield HostFinding(
            host,
            NOTE,
            "packages",
            f"packages are being installed by process {facts.package_lock}",
            "it is left to end; a step that installs packages waits for it",
        )
    elif facts.packages_interrupted:
        yield HostFinding(
            host,
            FIXABLE,
            "packages",
            "an installation of packages ended half-way: further ones fail",
            "on it: sudo dpkg --configure -a",
        )
    if facts.first_boot:
        yield HostFinding(
            host,
            NOTE,
            "packages",
            "it is still setting itself up after its first boot (cloud-init)",
            "wait for it: cloud-init status --wait",
        )


def devices(host: str, facts: HostFacts) -> Iterator[HostFinding]:
    if facts.device or facts.l4t:
        release = f", L4T {facts.l4t}" if facts.l4t else ""
        yield HostFinding(host, NOTE, "device", f"{facts.device or 'Jetson'}{release}", "")
    for gpu in facts.gpus:
        shared = "; its memory is the system's" if "integrated" in gpu else ""
        yield HostFinding(host, NOTE, "gpu", f"{gpu}{shared}", "")
    for tpu in facts.tpus:
        yield HostFinding(host, NOTE, "tpu", f"Coral accelerator at {tpu}", "")
