"""The client of the plain supervisor: one JSON line out, one back, over a Unix socket.

Belongs here: the protocol as this side speaks it. Does not belong here: keeping processes
running, which is the work of the supervisor that the socket belongs to.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from oakctl.errors import Conflict, OakError, Unreachable, UsageError
from oakctl.model import wire
from oakctl.model.config import Unit

VARIABLE = "OAKCTL_SUPERVISOR"
HOST_VARIABLE = "OAKCTL_HOST"
SCHEME = "plain:"
ANSWER_TIMEOUT_S = 30.0  # `stop` waits 5 s for the process before it kills it
LONGEST_ANSWER = 1 << 20  # bytes


def call(operation: str, name: str = "", unit: Unit | None = None) -> dict[str, dict[str, Any]]:
    """Ask the supervisor named in the environment; the answer maps unit name → its state.

    `operation` is put, start, stop, restart, remove or status. Raises UsageError without a
    supervisor, Unreachable when it does not answer, Conflict when it refuses.
    """
    request: dict[str, Any] = {
        "op": operation,
        "host": os.environ.get(HOST_VARIABLE, ""),
        "name": name,
    }
    if unit is not None:
        request["unit"] = wire.to_plain(unit)
    path = _socket_path()
    try:
        line = _exchange(path, json.dumps(request).encode() + b"\n")
    except OSError as error:
        raise Unreachable(
            f"the supervisor at {path} does not answer: {error.strerror or error}",
            hint="oakctl lab ls",
        ) from error
    return _units_of(line, operation, name)


def main(operation: str, file: str, name: str) -> int:
    """One `unit` command: prints the units of the answer as JSON. Returns the exit code."""
    unit = read_unit(file) if operation == "put" else None
    units = call(operation, unit.name if unit else name, unit)
    sys.stdout.write(json.dumps(units, indent=2, sort_keys=True) + "\n")
    return 0


def read_unit(file: str) -> Unit:
    """The unit in `file` ("-": standard input); raises UsageError when it holds none."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        return wire.decode(text, Unit)
    except OSError as error:
        raise UsageError(f"cannot read the unit: {error}", hint="give a readable file") from error
    except wire.Malformed as error:
        raise UsageError(f"{file}: {error}", hint="give JSON with name and argv") from error


def _socket_path() -> str:
    value = os.environ.get(VARIABLE, "")
    if not value.startswith(SCHEME):
        raise UsageError(
            f"{VARIABLE} is {value!r}: this host has no plain supervisor",
            hint=f"set {VARIABLE}=plain:<path of its socket>",
        )
    return value[len(SCHEME) :]


def _exchange(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(path)
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < LONGEST_ANSWER:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    return answer


def _units_of(line: bytes, operation: str, name: str) -> dict[str, dict[str, Any]]:
    try:
        answer = json.loads(line)
        accepted, units = bool(answer["ok"]), dict(answer.get("units") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise OakError(
            f"the supervisor's answer is not understood: {line[:200]!r}", hint="oakctl lab ls"
        ) from error
    if not accepted:
        reason = str(answer.get("error", "no reason given"))
        raise Conflict(
            f"the supervisor refused to {operation} {name or 'the units'}: {reason}",
            hint="oakctl-node unit status",
        )
    return units
