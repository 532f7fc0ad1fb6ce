"""One run at a time on a host, and never a lock that outlives its run.

The lock is a `flock` held by a small process on the host for as long as our SSH channel to it is
open and says something from time to time: when the run ends, is killed or loses its link, the
process ends and the lock with it. Does not belong here: what is done under it (`runner`).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oakctl.errors import Conflict, DeadlineExceeded, OakError
from oakctl.remote.connection import FabricRemote

LEASE_S = 60  # seconds of silence after which a link is taken for dead, on the host's side
SAY_EVERY_S = 15.0
ANSWER_S = 30.0

# Without Python: it is held while one is being pushed. $1 file, $2 who, $3 lease, $4 mark.
HOLD = """
umask 077
command -v flock >/dev/null || { echo "$4 broken flock is missing (util-linux)"; exit 1; }
fault=$({ mkdir -p -- "${1%/*}" && : >>"$1"; } 2>&1) ||
    { printf '%s broken %s\\n' "$4" "$(echo "$fault" | tr '\\n' ' ')"; exit 1; }
exec 9>>"$1"
flock -n 9 || { echo "$4 taken $(head -c 200 "$1" | tr '\\n' ' ')"; exit 1; }
# On a full disk it is held all the same, by somebody unnamed.
printf %s "$2" 2>/dev/null >"$1"
echo "$4 held"
while [ "$(timeout "$3" dd bs=64 count=1 2>/dev/null 9>&-)" ]; do :; done
"""


@contextmanager
def host_lock(remote: FabricRemote) -> Iterator[None]:
    """Hold the host; raises Conflict naming the holder when another run has it.

    It is taken again when the connection is made anew: with a restart of the host it is gone.
    """
    with contextlib.ExitStack() as held:

        def take() -> None:
            held.close()
            held.enter_context(_taken(remote))

        take()
        remote.after_renewal.append(take)
        try:
            yield
        finally:
            remote.after_renewal.remove(take)


@contextmanager
def _taken(remote: FabricRemote) -> Iterator[None]:
    who = f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}"
    # A login shell may greet first, with any words: the answer is the line with this mark.
    mark = secrets.token_hex(8)
    path = remote.layout.run("host.lock")
    words = ["sh", "-c", HOLD, "oakctl-lock", path, who, str(LEASE_S), mark]
    channel = remote.attend(shlex.join(words))
    over = threading.Event()
    saying = threading.Thread(
        target=_say, args=(channel, over), name=f"lock {remote.name}", daemon=True
    )
    try:
        _await_answer(remote.name, channel, mark)
        saying.start()
        yield
    finally:
        over.set()
        with contextlib.suppress(OSError, EOFError):  # a lost link has let go already
            channel.close()
        if saying.ident is not None:
            saying.join()


def _await_answer(host: str, channel: Any, mark: str) -> None:
    channel.settimeout(ANSWER_S)
    text = ""
    try:
        while not text.partition(mark)[2].endswith("\n"):
            piece = channel.recv(4096)
            if not piece:
                break
            text += piece.decode(errors="replace")
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"{host}: whether the host is free was not answered within {ANSWER_S:.0f} s",
            hint="run it again",
        ) from error
    word, _, holder = text.partition(mark)[2].strip().partition(" ")
    if word == "taken":
        raise Conflict(
            f"{host}: another run works on this host ({holder or 'holder not known'})",
            hint="wait for it, or end it",
        )
    if word != "held":
        raise OakError(
            f"{host}: it cannot be held for this run: {holder or 'no answer'}",
            hint=f"oakctl host run {host} -- df -h .",
        )


def _say(channel: Any, over: threading.Event) -> None:
    with contextlib.suppress(OSError):  # the link is gone: whatever runs now says so
        while not over.wait(SAY_EVERY_S):
            channel.sendall(b".")
