"""What a host answered, line by line, and the pieces that are read from several lines.

Belongs here: finding the answer in whatever a login shell prints, keeping it small and harmless,
and `equipment` from it. Pure. Does not belong here: the host as a whole (`facts`).

What a host says may be anything: it is bounded, what a terminal would act on is spelt out, and
what becomes part of something to type has the form that it must have, or is left out.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from oakctl.errors import OakError
from oakctl.remote.equipment import (
    CommandLine,
    Control,
    Docker,
    Install,
    Listener,
    Network,
    Place,
)

MOST_ANSWER = 400_000  # characters
MOST_LINES = 2000
MOST_VALUE = 8000  # characters
COMMAND_LINES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")
FIREWALLS = ("ufw", "firewalld")
NOT_OURS = re.compile(r"(lo|docker|br-|veth|cni|flannel|virbr|lxd|podman|wg|tun|oak)")


class Answers:
    """The values of each key, in the order in which they came."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def all(self, key: str) -> tuple[str, ...]:
        """Every value of `key`."""
        return tuple(self._values.get(key, ()))

    def one(self, key: str) -> str:
        """The first value of `key`; empty without one."""
        return self._values.get(key, [""])[0]

    def number(self, key: str, fallback: int = 0) -> int:
        """The first value as a number; `fallback` when it is none."""
        return number(self.one(key), fallback)

    def is_yes(self, key: str) -> bool:
        """Whether it was answered with yes."""
        return self.one(key) == "yes"

    def below(self, prefix: str) -> dict[str, str]:
        """The rest of each key that begins with `prefix` → its first value."""
        return {
            key.removeprefix(prefix): found[0]
            for key, found in self._values.items()
            if key.startswith(prefix)
        }


def find(text: str, nonce: str) -> Answers:
    """The answer between the two lines with the nonce; raises OakError when it is cut off."""
    rest = text[:MOST_ANSWER].partition(f"\nbegin {nonce}\n")[2]
    body, ended, _ = rest.partition(f"\nend {nonce}\n")
    if not rest or not ended:
        raise OakError("the host's answer to the first questions was cut off")
    values: dict[str, list[str]] = {}
    for line in body.split("\n", MOST_LINES)[:MOST_LINES]:
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, []).append(harmless(value[:MOST_VALUE].strip(" \r")))
    return Answers(values)


def harmless(text: str) -> str:
    """`text` with everything spelt out that a terminal acts on or does not show; tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        each if each == "\t" or each.isprintable() else f"\\u{ord(each):04x}" for each in text
    )


def number(text: str, fallback: int = 0) -> int:
    """A number of at most 18 digits; `fallback` for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else fallback


def word(text: str) -> str:
    """The name of a user or the like, as it may be typed; empty for anything else."""
    return text if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?", text) else ""


def address(text: str) -> str:
    """An IP address, without its zone; empty for anything else."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return ""


def addresses(text: str) -> tuple[str, ...]:
    """Those of "eth0/10.0.0.5/24 ..." by which others may reach the host."""
    found = []
    for each in text.split():
        interface, _, rest = each.partition("/")
        known = address(rest.partition("/")[0])
        if known and not NOT_OURS.match(interface):
            found.append(known)
    return tuple(dict.fromkeys(found))


def place(answers: Answers, key: str) -> Place:
    """A file system."""
    total, _, free = answers.one(f"{key}_inodes").partition(" ")
    kind, _, options = answers.one(f"{key}_mount").partition(" ")
    return Place(
        answers.number(f"{key}_kb") // 1024,
        number(total, -1),
        number(free, -1),
        kind,
        tuple(option for option in options.split(",") if option),
    )


def docker(answers: Answers) -> Docker:
    """The engine, as it answered."""
    answer = answers.one("docker")
    if not answer:
        return Docker()
    version, architecture = [*answer.split("\t"), ""][:2]
    if not re.match(r"\d+\.", version):
        return Docker(installed=True)
    runtimes, driver, root, engine = [*answers.one("docker_info").split("\t"), "", "", "", ""][:4]
    names = tuple(name for name in runtimes.split(",") if name)
    return Docker(
        True, version, architecture, names, driver, root, engine, place(answers, "images")
    )


def network(answers: Answers) -> Network:
    """What the kernel and its tools can do."""
    flavour = re.search(r"\((nf_tables|legacy)\)", answers.one("iptables"))
    legacy = "legacy" if answers.one("iptables") else ""  # before 1.8 there was no other
    rules = firewall(answers)
    return Network(
        wireguard=answers.one("wireguard"),
        wireguard_userspace=answers.is_yes("wireguard_userspace") and answers.is_yes("tun"),
        nftables=answers.one("nftables"),
        iptables=flavour.group(1) if flavour else legacy,
        forward_policy=rules.forward_policy,
        legacy_rules=rules.legacy_rules,
        nft_rules=rules.nft_rules,
        firewalls=tuple(each for each in answers.all("firewall") if each in FIREWALLS),
        iptable_raw="yes" if answers.number("raw_table") else answers.one("iptable_raw"),
        drops_input=rules.drops_input,
        tun=answers.is_yes("tun"),
        routes=tuple(filter(None, map(_route, answers.all("route")))),
        tunnel_port_taken=answers.one("tunnel_port") == "taken",
    )


def _route(line: str) -> str:
    """As "10.30.5.0/24 eth1", or empty for what is no route."""
    where, _, device = line.partition(" ")
    try:
        network = ipaddress.IPv4Network(where, strict=False)
    except ValueError:
        return ""
    return f"{network} {word(device)}".strip()


def firewall(answers: Answers) -> Network:
    """What the superuser alone is told of it: the rules; nothing else."""
    return Network(
        forward_policy=_policy(answers.one("forward")),
        legacy_rules=answers.number("legacy_rules"),
        nft_rules=answers.number("nft_rules"),
        drops_input=_policy(answers.one("input")) == "DROP" or answers.number("input_drops") > 0,
    )


def _policy(line: str) -> str:
    found = re.fullmatch(r"-P (?:FORWARD|INPUT) ([A-Z]+)", line)
    return found.group(1) if found else ""


def control(answers: Answers) -> Control:
    """Control groups of either version."""
    first, second = bool(answers.one("cgroup1")), bool(answers.one("cgroup2"))
    version = "hybrid" if first and second else "v2" if second else "v1" if first else ""
    # Version 2 says it in cgroup.controllers, version 1 in /proc/cgroups; either may have it.
    in_second = "memory" in answers.one("controllers").split()
    return Control(version, in_second or (first and answers.one("memory_cgroup") == "1"))


def command_line(answers: Answers) -> CommandLine:
    """A Raspberry Pi's; nothing where the file is none of those that it may be."""
    file, lines, text = [*answers.one("cmdline").split("\t", 2), "", ""][:3]
    if file not in COMMAND_LINES:
        return CommandLine()
    return CommandLine(file, number(lines), text, answers.one("booted_with"))


def gpus(answers: Answers) -> tuple[str, ...]:
    """Each accelerator for graphics with its memory; a Jetson's shares the system's."""
    tegra = answers.one("l4t") or "nvidia,tegra" in answers.one("compatible")
    if tegra or "Jetson" in answers.one("device") or answers.is_yes("tegra_gpu"):
        # nvidia-smi is absent on JetPack 5 and says "Not Supported" on 6.
        return ("Jetson integrated",)
    rows = [row.split(",") for row in answers.one("nvidia").split(";")]
    return tuple(f"{row[0].strip()}, {row[1].strip()}" for row in rows if len(row) >= 3)


def l4t(line: str, package: str = "") -> str:
    """The release of NVIDIA's system on a Jetson, of its file or its package."""
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", line)
    if found:
        return f"{found.group(1)}.{found.group(2)}"
    packaged = re.match(r"\d+\.\d+\.\d+", package)
    return packaged.group() if packaged else ""


def listener(line: str) -> Listener:
    """Who has the bus's port, from "address TAB pid TAB command"."""
    where, pid, command = [*line.split("\t"), "", ""][:3]
    return Listener(_kernel_address(where.partition(":")[0]), number(pid), command.strip())


def _kernel_address(digits: str) -> str:
    """An address of /proc/net/tcp{,6}: 32-bit words, each in the order of the host's bytes."""
    if not re.fullmatch("([0-9A-F]{8}){1}|([0-9A-F]{8}){4}", digits):
        return digits
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def installs(answers: Answers) -> tuple[Install, ...]:
    """What is there of ours already."""
    found = []
    for key in ("opt", "home"):
        prefix = answers.one(f"{key}_install")
        if prefix:
            found.append(_install(answers, key, prefix))
    return tuple(found)


def _install(answers: Answers, key: str, prefix: str) -> Install:
    cluster = _object(answers.one(f"{key}_cluster"))
    worker = _object(answers.one(f"{key}_worker"))
    recorded = _object(_object(answers.one(f"{key}_manifest")).get("roles"))
    roles = []
    if name := word(str(cluster.get("cluster", ""))):
        roles.append(f"orchestrator of {name}")
    names = [word(str(worker.get(each, ""))) for each in ("cluster", "worker")]
    if all(names):
        roles.append("worker " + "/".join(names))
    return Install(
        prefix=prefix,
        readable=answers.is_yes(f"{key}_readable"),
        roles=tuple(roles),
        recorded=tuple(each for each in ("cluster", "worker") if each in recorded),
        has_release=bool(answers.one(f"{key}_release")),
        holder=answers.one(f"{key}_holder"),
    )


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def environment(answers: Answers) -> dict[str, str]:
    """What the session declares to us: OAKCTL_*."""
    return {
        key: value
        for key, value in answers.below("env.").items()
        if re.fullmatch(r"OAKCTL_[A-Z0-9_]+", key)
    }


def systemd_version(text: str) -> int:
    """252 of "252" or "252.22-1"."""
    found: Iterable[str] = re.findall(r"^\d{1,6}", text)
    return int(next(iter(found), "0"))
