"""A host that lets the overlay's packets pass, and is as it was before when the overlay goes.

Belongs here: the kernel's forwarding, and other people's rules that would drop ours; what is
changed is noted before. Repeated without harm, as these others load their rules anew at times.
Does not belong here: which rules (`forwarding`), our own (`ruleset`).
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from oakctl.overlay.kernel import forwarding
from oakctl.overlay.kernel.host import Host

FORWARD = "net/ipv4/ip_forward"
NOTE = "kernel-overlay.json"  # what of the host was otherwise before us, below our state
FIREWALLD = "firewalld"  # there: the commands that it was given


class Passage:
    """The way through one host; `port` is the tunnel's (UDP), `state` where changes are noted."""

    def __init__(self, host: Host, state: Path | str, port: int) -> None:
        self._host = host
        self._file = Path(state) / NOTE
        self._port = port
        self._given: set[tuple[str, ...]] = set()  # commands by which others let us pass

    def forward(self) -> bool:
        """Have the kernel forward packets; whether it did not. Raises OSError."""
        before = self._host.setting(FORWARD)
        if before != "1":
            self._note({FORWARD: before, **self._noted()})
            self._host.set(FORWARD, "1")
        return before != "1"

    def open(self) -> bool:
        """Have other rules let us pass; whether they did so before and no more. Raises OSError."""
        missing = forwarding.missing(self._iptables(), self._port)
        for command in missing:
            self._host.run(command)
        commands = forwarding.firewalld(self._firewalld(), self._port)
        for command in commands:
            given = self._noted().get(FIREWALLD, [])
            if list(command) not in given:  # noted before: a run that is cut off is undone too
                self._note({**self._noted(), FIREWALLD: [*given, list(command)]})
            self._host.run(command)
        new = {*missing, *commands}
        lost = bool(self._given & new)
        self._given |= new
        return lost

    def close(self) -> None:
        """Give back what was changed. Raises OSError.

        Packets go on being forwarded where a Docker needs it that came later than we did.
        """
        listed = self._iptables()
        for command in forwarding.present(listed):
            self._host.run(command)
        noted = self._noted()
        if self._firewalld():
            for command in forwarding.undone(noted.get(FIREWALLD, [])):
                self._host.run(command)
        if FORWARD in noted and not forwarding.has_docker(listed):
            self._host.set(FORWARD, str(noted[FORWARD]))
        self._file.unlink(missing_ok=True)

    def _iptables(self) -> str:
        try:
            return self._host.run(("iptables", "-w", "-S"))
        except TimeoutError:
            raise  # somebody has its lock: whether there are such rules is not known
        except OSError:
            return ""  # a host without iptables has no such rules

    def _firewalld(self) -> str:
        """firewalld's own table; empty where it is not at work."""
        try:
            return self._host.run(("nft", "list", "table", "inet", "firewalld"))
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                raise
            return ""

    def _note(self, noted: dict[str, Any]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(noted))
        temporary.replace(self._file)

    def _noted(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return {}
