"""The tunnel between nodes: WireGuard by the kernel, or by the program wireguard-go.

Its private key is made here and never leaves the host: it goes from `wg` into a file of ours and
from there back. Does not belong here: who the peers are (`peers`), installing either (a playbook).
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from oakctl.model.overlay import TUNNEL_PORT, OverlayNode
from oakctl.overlay.kernel import peers, ways
from oakctl.overlay.kernel.alone import alone
from oakctl.overlay.kernel.cables import MTU
from oakctl.overlay.kernel.host import Host
from oakctl.overlay.kernel.peers import Peer, Seen
from oakctl.overlay.kernel.ruleset import TUNNEL, Networks
from oakctl.overlay.kernel.ways import Way

KEY = "wireguard.key"
PROGRAM = "wireguard-go"
READY_S = 20.0
_STEP_S = 0.02


class Tunnel:
    """The host's end; the key is below `state`. One for each network namespace of a host."""

    def __init__(
        self, networks: Networks, state: Path | str, host: Host, port: int = TUNNEL_PORT
    ) -> None:
        self._networks = networks
        self._port = port
        self._key = Path(state) / KEY
        self._host = host
        self.changing = threading.RLock()  # ways are found in one thread, nodes told in another
        self._said: dict[str, str] = {}
        self._problem = ""
        self._worker = ""
        self._nodes: tuple[OverlayNode, ...] = ()
        self._ways: dict[str, Way] | None = None  # None: what is in force is to be found
        self._trials: dict[str, int] = {}

    @property
    def problem(self) -> str:
        """What is not as it should be, in words; empty: nothing."""
        return self._problem

    def public_key(self) -> str:
        """What others know this node by; the key is made when there is none. Raises OSError."""
        return public_key(self._key.parent, self._host)

    @alone
    def apply(self, worker: str, nodes: Iterable[OverlayNode]) -> bool:
        """Lead to these nodes; whether anything was changed. Idempotent; raises OSError."""
        self._worker, self._nodes = worker, tuple(nodes)
        base = self.base()
        if not base and TUNNEL not in self._host.links():
            return False
        fresh = self._make()
        seen = self.seen()
        if self._ways is None:
            self._ways = ways.found(self._networks.subnet, base, self._nodes, seen)
        seen, begun = self._begin(seen)
        wanted = ways.with_direct(self._networks.subnet, base, self._nodes, self._ways, seen)
        changed = False
        for command in list(peers.difference(seen, wanted, self._said)):
            self._host.run(command)
            changed = True
        self._said = {peer.public_key: peer.endpoint for peer in wanted}
        self._lead(wanted)
        return changed or fresh or begun

    @property
    def nodes(self) -> tuple[OverlayNode, ...]:
        """The nodes that it was told last."""
        return self._nodes

    def base(self) -> tuple[Peer, ...]:
        """The peers that are there without any direct way."""
        return peers.planned(self._worker, self._networks, self._nodes)

    def ways(self) -> dict[str, Way]:
        """The direct ways, by public key."""
        return dict(self._ways or {})

    @alone
    def lead(self, wanted: Mapping[str, Way]) -> None:
        """Have just these direct ways, by public key. Raises OSError."""
        before, self._ways = self._ways, dict(wanted)
        try:
            self.apply(self._worker, self._nodes)
        except OSError:
            self._ways = before  # it is not known to be so
            raise

    def port(self) -> int:
        """The UDP port that others send to. Raises OSError."""
        return int(self._host.run(("wg", "show", TUNNEL, "listen-port")).strip() or 0)

    def carrier(self) -> str:
        """What carries it: "kernel", "wireguard-go"; empty: it is not there. Raises OSError."""
        if TUNNEL not in self._host.links():
            return ""
        kind = self._host.run(("ip", "-details", "link", "show", "dev", TUNNEL))
        return "kernel" if "wireguard" in kind else PROGRAM

    @alone
    def seen(self) -> list[Seen]:
        """The peers as the tunnel has them. Raises OSError."""
        return peers.dump(self._host.run(("wg", "show", TUNNEL, "dump")))

    @alone
    def remove(self) -> None:
        """Take it away; the key too. A program that carried it ends with its interface."""
        if TUNNEL in self._host.links():
            self._host.ip([f"link delete {TUNNEL}"])
        self._nodes, self._ways = (), None
        self._key.unlink(missing_ok=True)

    def _begin(self, seen: list[Seen]) -> tuple[list[Seen], bool]:
        """End the peers of former trials: without those, what is there; and whether any went."""
        given = {key: way.trial for key, way in (self._ways or {}).items()}
        old = {key for key, trial in given.items() if self._trials.get(key, trial) != trial}
        there = [each for each in seen if each.peer.public_key in old]
        for each in there:
            self._host.run(("wg", "set", TUNNEL, "peer", each.peer.public_key, "remove"))
        self._trials = given
        return [each for each in seen if each not in there], bool(there)

    def _make(self) -> bool:
        """Have the interface, with its key; whether it was made just now."""
        fresh = TUNNEL not in self._host.links()
        if fresh:
            self.public_key()
            self._add()
            # Known from the tunnel that is gone: it is to be said again.
            self._said = {}
        self._listen()
        self._host.ip([f"link set {TUNNEL} addrgenmode none", f"link set {TUNNEL} mtu {MTU} up"])
        return fresh

    def _add(self) -> None:
        with contextlib.suppress(OSError):  # most kernels have it; the others say so
            self._host.ip([f"link add {TUNNEL} type wireguard"])
            return
        # It goes to the background by itself, and outlives the agent.
        self._host.run((PROGRAM, TUNNEL))
        until = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError):
                self._host.run(("wg", "show", TUNNEL, "public-key"))
                return
            if time.monotonic() > until:
                raise OSError(errno.ETIMEDOUT, f"{PROGRAM} did not answer within {READY_S:.0f} s")
            time.sleep(_STEP_S)

    def _listen(self) -> None:
        """Give it key and port; another port where somebody has ours."""
        port = self._host.run(("wg", "show", TUNNEL, "listen-port")).strip()
        mine = self._host.run(("wg", "show", TUNNEL, "public-key")).strip()
        if mine == self.public_key() and port == str(self._port):
            self._problem = ""
            return
        key = ("private-key", str(self._key))
        try:
            self._host.run(("wg", "set", TUNNEL, *key, "listen-port", str(self._port)))
            self._problem = ""
        except OSError:
            if port == "0" or mine != self.public_key():
                self._host.run(("wg", "set", TUNNEL, *key, "listen-port", "0"))
            self._problem = f"UDP port {self._port} is taken: others cannot begin a tunnel to here"

    def _lead(self, wanted: Iterable[Peer]) -> None:
        listed = self._host.run(("ip", "route", "show", "dev", TUNNEL))
        gone = peers.gone_routes(listed, wanted)
        self._host.ip([*gone, *peers.routes(self._networks, wanted)])


def public_key(state: Path | str, host: Host | None = None) -> str:
    """What others know a node by whose private key is in `state`, or is put there now.

    Raises OSError.
    """
    host = host or Host()
    key = Path(state) / KEY
    if not key.exists():
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = key.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(host.run(("wg", "genkey")))
        temporary.replace(key)
    return host.run(("wg", "pubkey"), key.read_text()).strip()
