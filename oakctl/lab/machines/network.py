"""The network of a lab on this machine: namespaces, cables, rules; whole again at any time.

Belongs here: asking what is there and running what the plan says is missing. Does not belong
here: the plan (`topology`, `rules`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from oakctl.lab.machines import rules, topology
from oakctl.lab.machines.record import MachineFiles, MachineLab
from oakctl.lab.machines.shell import Shell, mounts_below, unmount_below
from oakctl.lab.machines.topology import OPERATOR, Command


async def used_networks(shell: Shell) -> list[str]:
    """Every IPv4 network that this machine has a route to or an address in."""
    text = await shell.run(("ip", "-4", "-j", "route", "show", "table", "all"))
    found = [route.get("dst", "") for route in json.loads(text or "[]")]
    return [each for each in found if each and each != "default"]


async def make(shell: Shell, files: MachineFiles, lab: MachineLab) -> None:
    """Make the network, or what is missing of it; the cables of `lab.cut` stay pulled."""
    plan = lab.topology
    files.networks.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = set(mounts_below(files.networks))
    for node in plan.nodes:
        if str(files.network(node)) not in there:
            await _namespace(shell, files.network(node))
    present = {node: await _links(shell, files, node) for node in (OPERATOR, *plan.nodes)}
    await run(shell, files, topology.missing(plan, present, lab.cut))
    for site in lab.plan.sites:
        node = topology.site_node(site.name)
        await shell.run((*_enter(files, node), "nft", "-f", "-"), stdin=rules.text(site))


async def forget_host(shell: Shell, files: MachineFiles, lab: MachineLab, host: str) -> None:
    """Take away the namespace of a host that is off, with its cables; `make` makes new ones.

    What a host told its kernel (addresses, packet rules) is gone when it is off, and would live
    on in its namespace.
    """
    for port in topology.cables_of(lab.topology, host):
        there = mounts_below(files.network(port.node))
        if there and port.name in await _links(shell, files, port.node):
            await shell.run((*_enter(files, port.node), "ip", "link", "delete", port.name))
    await unmount_below(shell, files.network(topology.host_node(host)))


async def run(shell: Shell, files: MachineFiles, commands: Iterable[Command]) -> None:
    """Run commands of the plan, each in its node."""
    for command in commands:
        words = [
            str(files.network(word[1:])) if word.startswith("@") else word for word in command.argv
        ]
        await shell.run((*_enter(files, command.node), *words))


async def remove(shell: Shell, files: MachineFiles, tag: str) -> None:
    """Take the network away; fine when there is none."""
    for link in topology.operator_links(tag):
        # Deleted by name: namespaces that are let go end some time later.
        if Path("/sys/class/net", link).exists():
            await shell.run(("ip", "link", "delete", link))
    await unmount_below(shell, files.networks)


async def _namespace(shell: Shell, file: Path) -> None:
    """A new namespace with its loopback up, mounted on `file`."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDONLY, 0o600)
    os.close(descriptor)
    await shell.run(("unshare", f"--net={file}", "ip", "link", "set", "lo", "up"))


async def _links(shell: Shell, files: MachineFiles, node: str) -> set[str]:
    text = await shell.run((*_enter(files, node), "ip", "-j", "link", "show"))
    return {link["ifname"] for link in json.loads(text or "[]")}


def _enter(files: MachineFiles, node: str) -> tuple[str, ...]:
    return ("nsenter", f"--net={files.network(node)}") if node != OPERATOR else ()
