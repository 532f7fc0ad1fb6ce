"""One run at a time on a host, and never a lock that outlives its run.

The lock is a `flock` held by a small process on the host for as long as our SSH channel to it is
open and says something from time to time: when the run ends, is killed or loses its link, the
process ends and the lock with it. Where the link went without a word the host finds out by the
silence alone, later than we may do; so a lock that is taken is listened to for a while: a holder
that is heard works, one that is silent is waited for.
Does not belong here: what is done under it (`runner`).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oakctl.errors import Conflict, DeadlineExceeded, OakError
from oakctl.remote.connection import FabricRemote
from oakctl.remote.step import Cancelled

LEASE_S = 60  # seconds of silence after which a link is taken for dead, on the host's side
SAY_EVERY_S = 5.0
SLACK_S = 10  # until a holder whose lease is over has ended
ANSWER_S = 30.0

Waiting = Callable[[str], None]  # is told who holds the host, when that is waited for

# Without Python: it is held while one is being pushed. $1 file, $2 who, $3 lease, $4 mark, $5 how
# many seconds a silent holder is waited for. A holder that is heard touches the file each time.
HOLD = """
umask 077
command -v flock >/dev/null || { echo "$4 broken flock is missing (util-linux)"; exit 1; }
fault=$({ mkdir -p -- "${1%/*}" && : >>"$1"; } 2>&1) ||
    { printf '%s broken %s\\n' "$4" "$(echo "$fault" | tr '\\n' ' ')"; exit 1; }
exec 9>>"$1"
heard= last=$(stat -c %y "$1" 2>/dev/null) seconds=0
until flock -n 9; do
    holder=$(head -c 200 "$1" | tr '\\n' ' ')
    [ "$seconds" -gt 0 ] || echo "$4 waits $holder"
    [ "$seconds" -lt "$5" ] || { echo "$4 taken $holder"; exit 1; }
    sleep 1
    seconds=$((seconds + 1)) now=$(stat -c %y "$1" 2>/dev/null)
    [ "$now" = "$last" ] && continue
    last=$now
    # What a dead run had sent may still arrive at once: the second sign is the proof.
    [ "$heard" ] && [ $((seconds - heard)) -ge 3 ] && { echo "$4 taken $holder"; exit 1; }
    heard=${heard:-$seconds}
done
# On a full disk it is held all the same, by somebody unnamed.
printf %s "$2" 2>/dev/null >"$1"
echo "$4 held"
while [ "$(timeout "$3" dd bs=64 count=1 2>/dev/null 9>&-)" ]; do touch "$1"; done
"""


def _untold(holder: str) -> None:
    """For whom a wait is nothing to be told of."""


@contextmanager
def host_lock(remote: FabricRemote, waiting: Waiting = _untold) -> Iterator[None]:
    """Hold the host; raises Conflict naming the holder when another run works there.

    A holder that is not heard for LEASE_S (plus SLACK_S) is gone by then: `waiting` is told.
    Raises Cancelled when the connection is closed meanwhile. The lock is taken again when the
    connection is made anew: with a restart of the host it is gone.
    """
    with contextlib.ExitStack() as held:

        def take() -> None:
            held.close()
            held.enter_context(_taken(remote, waiting))

        take()
        remote.after_renewal.append(take)
        try:
            yield
        finally:
            remote.after_renewal.remove(take)


@contextmanager
def _taken(remote: FabricRemote, waiting: Waiting) -> Iterator[None]:
    who = f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}"
    # A login shell may greet first, with any words: the answer is the line with this mark.
    mark = secrets.token_hex(8)
    path = remote.layout.run("host.lock")
    words = ["sh", "-c", HOLD, "oakctl-lock", path, who]
    words += [str(LEASE_S), mark, str(LEASE_S + SLACK_S)]
    channel = remote.attend(shlex.join(words))
    over = threading.Event()
    saying = threading.Thread(
        target=_say, args=(channel, over), name=f"lock {remote.name}", daemon=True
    )
    try:
        _await_answer(remote, channel, mark, waiting)
        saying.start()
        yield
    finally:
        over.set()
        with contextlib.suppress(OSError, EOFError):  # a lost link has let go already
            channel.close()
        if saying.ident is not None:
            saying.join()


def _await_answer(remote: FabricRemote, channel: Any, mark: str, waiting: Waiting) -> None:
    channel.settimeout(ANSWER_S)
    text = ""
    while True:
        line, ended, text = text.partition("\n")
        if not ended:
            text = line + _piece(remote, channel)
            if text == line:
                break  # it has ended without an answer
            continue
        if mark not in line:
            continue  # a greeting
        word, _, holder = line.rpartition(mark)[2].strip().partition(" ")
        if word == "held":
            return
        if word == "waits":
            channel.settimeout(ANSWER_S + LEASE_S + SLACK_S)
            waiting(holder)
            continue
        if word == "taken":
            raise Conflict(
                f"{remote.name}: another run works on this host ({holder or 'holder not known'})",
                hint="wait for it, or end it",
            )
        text = holder
        break
    if remote.is_closed:
        raise Cancelled(f"{remote.name}: stopped while waiting for the host to be free")
    raise OakError(
        f"{remote.name}: it cannot be held for this run: {text.strip() or 'no answer'}",
        hint=f"oakctl host run {remote.name} -- df -h .",
    )


def _piece(remote: FabricRemote, channel: Any) -> str:
    try:
        return str(channel.recv(4096).decode(errors="replace"))
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"{remote.name}: whether the host is free was not answered within "
            f"{channel.gettimeout():.0f} s",
            hint="run it again",
        ) from error


def _say(channel: Any, over: threading.Event) -> None:
    with contextlib.suppress(OSError):  # the link is gone: whatever runs now says so
        while not over.wait(SAY_EVERY_S):
            channel.sendall(b".")
