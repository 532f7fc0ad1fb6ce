"""A lab of network namespaces: made by its plan, changed at run time, gone with its owner.

Belongs here: carrying out the plan, and what may be done to a lab that runs. Does not belong here:
the plan (`lab.machines.topology`, `lab.machines.rules`), namespaces as such (`keeper`), and what
delays a cable (`line`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType

from oakctl.errors import OakError
from oakctl.lab.machines import rules, topology
from oakctl.lab.machines.lab_file import LabPlan, Site
from oakctl.lab.machines.topology import OPERATOR, Command, Port
from oakctl.lab.namespaces import line, plans
from oakctl.lab.namespaces.keeper import DEADLINE_S, Keeper, Node
from oakctl.lab.namespaces.line import Line
from oakctl.lab.slow import Slow


class NamespaceLab:
    """The lab that `plan` describes, up from the start; a context manager that takes it down.

    `as_user` makes it as a user who is not root would; as root that is a choice. The hosts in `off`
    are not turned on. Raises OakError.
    """

    def __init__(
        self, plan: LabPlan, *, as_user: bool | None = None, off: Collection[str] = ()
    ) -> None:
        self.plan = plan
        self._topology = plans.network(plan)
        self._keeper = Keeper(as_user=os.geteuid() != 0 if as_user is None else as_user)
        self._nodes: dict[str, Node] = {OPERATOR: self._keeper}
        self._lines: dict[str, Line] = {}
        try:
            for name in self._topology.routers:
                self._nodes[name] = self._keeper.node()
            on = [host.name for host in plan.hosts if host.name not in off]
            for host in on:
                self._nodes[topology.host_node(host)] = self._keeper.host(host)
            self._carry_out(topology.missing(plans.without_hosts(self._topology, off), {}))
            for site in plan.sites:
                self.set_site(site)
        except BaseException:
            self.down()
            raise

    def __enter__(self) -> NamespaceLab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def down(self) -> None:
        """End everything: all processes of the lab are its keeper's."""
        for slow in self._lines.values():
            slow.end()
        for node in reversed(self._nodes.values()):
            node.end()

    def run(
        self, host: str, argv: Sequence[str], text: str = "", timeout_s: float = DEADLINE_S
    ) -> str:
        """Standard output of a program on a host; raises OakError when it fails."""
        return self.node(host).run(argv, text, timeout_s=timeout_s)

    def spawn(
        self, host: str, argv: Sequence[str], more: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> subprocess.Popen[bytes]:
        """A program that goes on on a host."""
        return self.node(host).spawn(argv, more, cwd)

    def address(self, host: str) -> str:
        """The host's own address in its network: of a site's host, behind its router."""
        return plans.address(self._topology, host)

    def router(self, site: str, argv: Sequence[str], text: str = "") -> str:
        """Standard output of a program on a site's router."""
        return self._nodes[topology.site_node(site)].run(argv, text)

    def set_site(self, site: Site) -> None:
        """Give a site's router other rules; flows that are there keep what they have."""
        self.router(site.name, ("nft", "-f", "-"), rules.text(site))

    def cut(self, host: str) -> None:
        """Pull the host's cables: nothing of it is told to anybody."""
        self._carry_out(topology.switched(self._topology, host, False))

    def heal(self, host: str) -> None:
        """Plug the host's cables in again."""
        self._carry_out(topology.switched(self._topology, host, True))

    def slow(self, host: str, slow: Slow | None) -> None:
        """Delay and lose what goes to the host and what comes from it; None: no more of that."""
        port = self._above(host)
        if host in self._lines:
            self._lines[host].set(slow or Slow())
        elif slow is not None:
            self._lines[host] = line.lay(self._nodes[port.node], port, self.node(host), slow)
        if slow is None and host in self._lines:
            self._lines.pop(host).end()

    def power_cut(self, host: str) -> None:
        """End the host at once, and tell nobody: its cable goes first."""
        node = self._nodes.pop(topology.host_node(host), None)
        if node is None:
            return
        port = self._above(host)
        with contextlib.suppress(OakError):  # its namespaces may be gone by themselves
            self._nodes[port.node].run(("ip", "link", "delete", port.name))
        if host in self._lines:
            self._lines.pop(host).end()
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGKILL)
        node.end()

    def boot(self, host: str) -> None:
        """Turn a host on that is off: its network is as new."""
        name = topology.host_node(host)
        self._nodes[name] = self._keeper.host(host)
        self._carry_out(topology.missing(plans.host_alone(self._topology, host), {}))

    def is_on(self, host: str) -> bool:
        """Whether the host is turned on."""
        return topology.host_node(host) in self._nodes

    def node(self, host: str) -> Node:
        """The host as its namespaces; raises OakError while it is off."""
        try:
            return self._nodes[topology.host_node(host)]
        except KeyError:
            raise OakError(f"host {host} is off") from None

    def _above(self, host: str) -> Port:
        """The far end of the host's cable."""
        return topology.cables_of(self._topology, host)[0]

    def _carry_out(self, commands: Iterable[Command]) -> None:
        """In one shell for each node: cables, which are the operator's, go first."""
        scripts: dict[str, list[str]] = {OPERATOR: []}
        for command in commands:
            if any("ping_group_range" in word for word in command.argv):
                continue  # everybody here is root, and a user's namespace has no other group
            scripts.setdefault(command.node, []).append(shlex.join(map(self._word, command.argv)))
        for name, lines in scripts.items():
            self._nodes[name].run(("sh", "-e"), "\n".join(lines))

    def _word(self, word: str) -> str:
        """The plan names a node's namespace as "@node"; `ip` takes a process of it."""
        return str(self._nodes[word[1:]].number) if word.startswith("@") else word
