"""A real OpenSSH server on loopback, with a user made for the test. Needs root.

It leaves nothing but sshd's own empty directory in /run, which other servers may stand on by then.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oakctl.remote.target import Target
from tests.remote.servers import free_port

PASSWORD = "correct-horse-battery-" + secrets.token_hex(4)
DEADLINE_S = 20.0


def why_not() -> str:
    """Why such a server cannot be had here; empty when it can."""
    if os.geteuid() != 0:
        return "a real SSH server with users of its own needs root"
    missing = [
        t for t in ("/usr/sbin/sshd", "ssh-keygen", "useradd", "sudo") if not shutil.which(t)
    ]
    return f"not installed: {', '.join(missing)}" if missing else ""


def run(*words: str, stdin: str = "") -> None:
    subprocess.run(words, input=stdin, text=True, check=True, capture_output=True, timeout=60)


@contextmanager
def server(folder: Path, sudoers: str = "", options: str = "", address: str = "127.0.0.1",
           rc: str = "", shell: str = "/bin/bash") -> Iterator[Target]:  # fmt: skip
    """How the server's user is reached. In `sudoers` and `rc`, USER is the user's name."""
    name = f"oakt{secrets.token_hex(3)}"
    rule = Path(f"/etc/sudoers.d/{name}")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    process = None
    # What is left of the user is killed by its number: hosts of a lab share their numbers with
    # this machine, and have their users where a system counts from.
    run("useradd", "-m", "-K", "UID_MIN=40000", "-K", "UID_MAX=59999", "-s", shell, name)
    try:
        run("chpasswd", stdin=f"{name}:{PASSWORD}\n")
        if rc:
            Path(f"/home/{name}/.bashrc").write_text(rc)
        if sudoers:
            rule.write_text(sudoers.replace("USER", name) + "\n")
            rule.chmod(0o440)
        port = free_port()
        for key in ("host", "id"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
        keys = Path(f"/home/{name}/authorized")
        keys.write_text((folder / "id.pub").read_text())
        keys.chmod(0o644)
        (folder / "sshd_config").write_text(
            f"ListenAddress {address}\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\nAllowUsers {name}\n{options}\n"
        )
        process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
            stderr=(folder / "log").open("w"),
        )
        listening(address, port)
        yield Target("box", address, port, name, str(folder / "id"), accept_new=True)
    finally:
        if process is not None:
            process.terminate()
            process.wait(DEADLINE_S)
        rule.unlink(missing_ok=True)
        subprocess.run(["pkill", "-KILL", "-u", name], check=False)
        gone(name)


def listening(address: str, port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)


def gone(name: str) -> None:
    """Take the user away, as soon as its last process is."""
    deadline = time.monotonic() + DEADLINE_S
    while subprocess.run(["userdel", "-r", name], check=False, capture_output=True).returncode:
        if not Path(f"/home/{name}").exists():
            return
        assert time.monotonic() < deadline, f"user {name} is still there"
        time.sleep(0.05)
