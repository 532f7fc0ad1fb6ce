"""The agent's side of the loopback overlay: write what the relay shall do, and tell it.

Belongs here: translating overlay addresses to those of hosts on 127/8. Does not belong here:
what shall be forwarded (`overlay.plan`), or forwarding it (`relay`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oakctl.overlay import plan
from oakctl.overlay.loopback import files


class LoopbackDriver:
    """The overlay of the host with loopback number `number`; `state_dir` is `<prefix>/state`."""

    def __init__(self, state_dir: Path | str, number: int) -> None:
        self._files = files.RelayFiles(Path(state_dir))
        self._number = number

    def apply(self, overlay: plan.NodeOverlay) -> bool:
        """Make it so: idempotent; the relay follows at once, or reads it when it starts.

        Returns whether a relay was told. Raises OSError when the file cannot be written.
        """
        table = relay_table(overlay, self._number)
        if _read(self._files.table) != table:
            files.write_json(self._files.table, table)
        # Told even when nothing changed: an agent may have died between writing and telling.
        return files.tell(self._files.pid)

    def bind_address(self, overlay_ip: str) -> str:
        """The address on which the instance with this overlay address listens here."""
        return plan.local_address(self._number, overlay_ip)

    def local_service_address(self, overlay_ip: str) -> str:
        """The address at which instances here reach the service with this overlay address."""
        return plan.local_address(self._number, overlay_ip)

    def relay_pid(self) -> int | None:
        """The process id of the relay, or None when none runs."""
        return files.living(self._files.pid)

    def problems(self) -> tuple[str, ...]:
        """What the relay could not do, in words; that it does not run is one of them."""
        if self.relay_pid() is None:
            return ("the relay does not run",)
        status = _read(self._files.status)
        if not isinstance(status, dict):
            return ()  # it has just started
        found = [str(status["error"])] if status.get("error") else []
        for listener in status.get("listeners", []):
            if listener.get("error"):
                where = f"{listener['address']}:{listener['port']}/{listener['protocol']}"
                found.append(f"{listener['service']}: {where}: {listener['error']}")
        return tuple(found)


def relay_table(overlay: plan.NodeOverlay, number: int) -> dict[str, Any]:
    """The relay's file: listeners and targets with addresses of this machine.

    Targets on nodes that are not on the loopback overlay are left out: no relay reaches them.
    """
    return {
        "number": number,
        "listeners": [
            {
                "service": listener.service,
                "address": plan.local_address(number, listener.address)
                if listener.address
                else plan.host_address(number),
                "port": listener.port,
                "protocol": listener.protocol,
                "policy": "closest" if listener.policy == plan.CLOSEST else "rr",
                "by_client": listener.by_client,
                "targets": [
                    {
                        "instance": target.instance,
                        "address": plan.local_address(target.number, target.address),
                        "port": target.port,
                        "takes_new": target.takes_new,
                        "weight": target.weight,
                    }
                    for target in listener.targets
                    if target.number is not None
                ],
            }
            for listener in overlay.listeners
        ],
    }


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
