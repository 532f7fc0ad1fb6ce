"""A lab of network namespaces: made by its plan, changed at run time, gone with its owner.

Belongs here: carrying out the plan, and what may be done to a lab that runs. Does not belong here:
the plan (`lab.machines.topology`, `lab.machines.rules`), namespaces as such (`keeper`).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from oakctl.lab.machines import rules, topology
from oakctl.lab.machines.lab_file import LabPlan, Site
from oakctl.lab.machines.topology import OPERATOR, Command
from oakctl.lab.namespaces.keeper import DEADLINE_S, Keeper, Node

# Inside of the lab's namespace no other network can be in the way.
BLOCK = "198.18.0.0/20"
TAG = "ns"


class NamespaceLab:
    """The lab that `plan` describes, up from the start; a context manager that takes it down.

    `as_user` makes it as a user who is not root would; as root that is a choice. Raises OakError.
    """

    def __init__(self, plan: LabPlan, *, as_user: bool | None = None) -> None:
        self.plan = plan
        self._topology = topology.plan_network(plan, BLOCK, TAG)
        self._keeper = Keeper(as_user=os.geteuid() != 0 if as_user is None else as_user)
        self._nodes: dict[str, Node] = {OPERATOR: self._keeper}
        self._numbers: dict[str, int] = {}
        try:
            for name in self._topology.nodes:
                self._nodes[name], self._numbers[name] = self._keeper.node()
            self._carry_out(topology.missing(self._topology, {}))
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
        for node in reversed(self._nodes.values()):
            node.end()

    def run(
        self, host: str, argv: Sequence[str], text: str = "", timeout_s: float = DEADLINE_S
    ) -> str:
        """Standard output of a program on a host; raises OakError when it fails."""
        return self._host(host).run(argv, text, timeout_s=timeout_s)

    def spawn(
        self, host: str, argv: Sequence[str], more: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> subprocess.Popen[bytes]:
        """A program that goes on on a host."""
        return self._host(host).spawn(argv, more, cwd)

    def address(self, host: str) -> str:
        """The host's own address in its network: of a site's host, behind its router."""
        node = topology.host_node(host)
        ports = (port for link in self._topology.links for port in (link.a, link.b))
        found = next(port.address for port in ports if port.node == node and port.name == "eth0")
        return found.partition("/")[0]

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

    def _host(self, name: str) -> Node:
        return self._nodes[topology.host_node(name)]

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
        return str(self._numbers[word[1:]]) if word.startswith("@") else word
