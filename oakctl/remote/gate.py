"""The way of another operator's root to a cluster's bus: a key that carries bytes there, no more.

The key's line in authorized_keys has `restrict` (no terminal, no forwarding of any kind, no agent)
and a command of ours, whatever the client asks for. OpenSSH's own port forwarding would not do:
it cannot be let without letting sockets in the file system too, Docker's for one. Belongs here:
the line, the command's program, and this side of it. Does not belong here: putting them on a host
(playbook `grant`), or who is let in (`orchestration.root.grants`).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import asyncssh

from oakctl.model.config import BUS_PORT
from oakctl.remote.tunnel import Tunnel

ASKED_FOR = "oakctl-bus"  # the one thing that the key's owner may ask for
FOLDER = "open"  # below the prefix; what is in it is no secret
_PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{40,100}={0,2}")

PROGRAM = '''\
#!{python} -I
"""Carries one connection to the bus of this cluster, for a root that was let in, and no more."""
import os, socket, sys, threading

name = sys.argv[1] if len(sys.argv) > 1 else ""
here = os.path.dirname(os.path.abspath(__file__))


def refuse(why):
    sys.stderr.write("oakctl: " + why + "\\n")
    sys.exit(1)


if os.environ.get("SSH_ORIGINAL_COMMAND") != "{asked_for}":
    refuse("this key leads to the bus of a cluster and to nothing else")
if not os.path.exists(os.path.join(here, "roots", os.path.basename(name) or "-")):
    refuse("the grant of " + name + " was revoked")
try:
    bus = socket.create_connection(("{address}", {port}), 10)
except OSError as error:
    refuse("the bus does not answer: " + str(error))
bus.settimeout(None)


def inward():
    try:
        while True:
            data = os.read(0, 65536)
            if not data:
                break
            bus.sendall(data)
    except OSError:
        pass
    try:
        bus.shutdown(socket.SHUT_WR)
    except OSError:
        pass


threading.Thread(target=inward, daemon=True).start()
try:
    while True:
        data = bus.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
except OSError:
    pass
os._exit(0)
'''

# Prints the ids of what it ended: the programs of this root's connections, and the SSH sessions
# that they belong to. What it looks for is no argument of its own, or it would find itself.
_END_SESSIONS = """\
import os, signal
program, name, end = {arguments}
def read(pid, what):
    try:
        with open("/proc/%s/%s" % (pid, what), "rb") as file:
            return file.read()
    except OSError:
        return b""
def parent(pid):
    stat = read(pid, "stat").rpartition(b")")[2].split()
    return stat[1].decode() if len(stat) > 1 else "0"
for pid in [entry for entry in os.listdir("/proc") if entry.isdigit()]:
    argv = read(pid, "cmdline").split(b"\\0")[:-1]
    if argv[-2:] != [program.encode(), name.encode()]:
        continue
    found, above = [pid], parent(pid)
    for _ in range(3):
        found.append(above)
        if read(above, "comm").startswith(b"sshd"):
            break
        above = parent(above)
    else:
        found = [pid]
    for one in reversed(found):
        try:
            if end:
                os.kill(int(one), signal.SIGKILL)
            print(one)
        except OSError:
            pass
"""


def program_path(prefix: PurePosixPath) -> str:
    """Where the command's program lies on a host."""
    return str(prefix / FOLDER / "bus-gate")


def mark_path(prefix: PurePosixPath, name: str) -> str:
    """The file whose presence lets a root's connections through."""
    return str(prefix / FOLDER / "roots" / name)


def program(python: str, address: str, port: int = BUS_PORT) -> bytes:
    """The command's program, for a bus that listens on `address` there."""
    text = PROGRAM.format(python=python, asked_for=ASKED_FOR, address=address, port=port)
    return text.encode()


def sessions_script(prefix: PurePosixPath, name: str, *, end: bool) -> str:
    """For Python on the host: prints the processes of a root's connections, and may end them."""
    arguments = (program_path(prefix), name, end)
    return _END_SESSIONS.replace("{arguments}", repr(arguments))


def comment(cluster: str, name: str) -> str:
    """What ends the key's line, and tells it from all others."""
    return f"oakctl-grant-{cluster}-{name}"


def key_line(prefix: PurePosixPath, public_key: str, cluster: str, name: str) -> str:
    """The line of authorized_keys; raises ValueError for what is no ed25519 key."""
    if not _PUBLIC_KEY.fullmatch(public_key):
        raise ValueError("it is no ed25519 key")
    command = f"{program_path(prefix)} {name}"
    return f'restrict,command="{command}" {public_key} {comment(cluster, name)}'


class Gate(Tunnel):
    """A tunnel whose far end is the key's command: a session for each connection."""

    async def _far(
        self, connection: asyncssh.SSHClientConnection
    ) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        writer, reader, _ = await connection.open_session(ASKED_FOR, encoding=None)
        return reader, writer
