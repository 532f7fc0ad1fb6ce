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

HOLD = """
import fcntl, os, select, sys
path, who, lease, mark = sys.argv[1:]
os.umask(0o077)
try:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
except OSError as error:
    print(mark, "broken", error, flush=True)
    sys.exit(1)
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print(mark, "taken", os.pread(file, 200, 0).decode(errors="replace").strip(), flush=True)
    sys.exit(1)
try:
    os.ftruncate(file, 0)
    os.pwrite(file, who.encode(), 0)
except OSError:
    pass  # a full disk: held all the same, by somebody unnamed
print(mark, "held", flush=True)
while select.select([0], [], [], float(lease))[0] and os.read(0, 64):
    pass
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
    words = [remote.facts.python, "-c", HOLD, path, who, str(LEASE_S), mark]
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
