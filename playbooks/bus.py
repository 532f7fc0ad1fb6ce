"""Bus: nats-server with TLS of the cluster's own CA, and its first users.

The CA is made here, in memory, and its key is kept on the host alone. Passwords are made here
too; the bus knows only their hashes. Workers are added later, by the orchestrator.
"""

from __future__ import annotations

import json
import re
import secrets
from shlex import quote

import bcrypt

from oakctl.errors import Conflict, OakError
from oakctl.model import subjects
from oakctl.model.config import BUS_PORT, Unit
from oakctl.orchestration.cluster import bus_server
from oakctl.remote import authority, natsbin
from oakctl.remote.inputs import ClusterInputs, bus_address
from oakctl.remote.step import Remote, Step
from oakctl.remote.supervisor import changes_with, supervisor_of, unit_step

OWN_USERS = (subjects.USER_ORCHESTRATOR, subjects.USER_WATCHER)
LISTENS_WITHIN_S = 20
# Small hosts: let the garbage of an upload be collected at half the default growth.
COLLECT_EARLY = {"GOGC": "50"}


def steps(inputs: ClusterInputs) -> list[Step]:
    return [
        port_free(),
        program(),
        certificate(inputs.cluster),
        passwords(),
        users(inputs.root_secret),
        configuration(inputs.cluster),
        unit(),
        listening(),
    ]


def program() -> Step:
    def check(remote: Remote) -> str:
        wanted = natsbin.sha256(natsbin.locate(remote.facts.architecture))
        found = remote.run(f"sha256sum < {quote(remote.layout.nats_server)}", check=False)
        return "" if found.stdout.split()[:1] == [wanted] else "missing"

    def apply(remote: Remote) -> None:
        content = natsbin.locate(remote.facts.architecture).read_bytes()
        remote.put(remote.layout.nats_server, content, mode=0o700)

    return Step("bus: nats-server", check, apply)


def certificate(cluster: str) -> Step:
    def check(remote: Remote) -> str:
        current = remote.read(remote.layout.etc("bus/server.pem"))
        return authority.fault(current, cluster) if current else "missing"

    def apply(remote: Remote) -> None:
        made = authority.make(cluster, bus_address(remote))
        # The certificate goes last: it is what the check looks at.
        for name in ("ca.key", "ca.pem", "server.key", "server.pem"):
            remote.put(remote.layout.etc(f"bus/{name}"), made[name])

    return Step("bus: certificate", check, apply)


def secret_file(remote: Remote, user: str) -> str:
    return remote.layout.etc(f"bus/{user}.secret")


def passwords() -> Step:
    def check(remote: Remote) -> str:
        present = all(remote.read(secret_file(remote, user)) for user in OWN_USERS)
        return "" if present else "missing"

    def apply(remote: Remote) -> None:
        for user in OWN_USERS:
            if not remote.read(secret_file(remote, user)):
                remote.put(secret_file(remote, user), secrets.token_hex(16).encode())

    return Step("bus: passwords", check, apply)


def users(root_secret: str) -> Step:
    """Orchestrator and root; the workers that are there already stay."""

    def present(remote: Remote) -> dict[str, dict[str, str]]:
        content = remote.read(remote.layout.bus_users_source)
        found: dict[str, dict[str, str]] = json.loads(content)["users"] if content else {}
        return found

    def wanted(remote: Remote) -> dict[str, bytes]:
        orchestrator = remote.read(secret_file(remote, subjects.USER_ORCHESTRATOR)) or b""
        return {
            subjects.USER_ORCHESTRATOR: orchestrator.strip(),
            subjects.USER_ROOT: root_secret.encode(),
        }

    def check(remote: Remote) -> str:
        entries = present(remote)
        for name, secret in wanted(remote).items():
            if not matches(secret, entries.get(name, {}).get("hash", "")):
                return f"{name} is missing"
        rendered = remote.read(remote.layout.bus_users) or b""
        return "" if rendered.decode() == bus_server.render_users(entries) else "differs"

    def apply(remote: Remote) -> None:
        entries = present(remote)
        for name, secret in wanted(remote).items():
            if not matches(secret, entries.get(name, {}).get("hash", "")):
                entries[name] = {"role": name, "hash": hashed(secret)}
        source = json.dumps({"users": entries}, indent=1, sort_keys=True) + "\n"
        remote.put(remote.layout.bus_users_source, source.encode())
        remote.put(remote.layout.bus_users, bus_server.render_users(entries).encode())
        pid = quote(remote.layout.bus_pid)
        remote.run(f"if [ -s {pid} ]; then kill -HUP $(cat {pid}); fi", check=False)

    return Step("bus: users", check, apply)


def configuration(cluster: str) -> Step:
    def rendered(remote: Remote) -> bytes:
        current = (remote.read(remote.layout.bus_config) or b"").decode()
        secret = (remote.read(secret_file(remote, subjects.USER_WATCHER)) or b"").strip()
        found = re.search(r"\$2b\$\d\d\$[./A-Za-z0-9]{53}", current)
        # A new hash of the same password would look like a change.
        known = found.group() if found and matches(secret, found.group()) else hashed(secret)
        listen = bus_address(remote) or remote.facts.every_address
        return bus_server.render_config(listen, BUS_PORT, cluster, remote.layout, known).encode()

    def check(remote: Remote) -> str:
        current = remote.read(remote.layout.bus_config)
        if current is None:
            return "missing"
        return "" if current == rendered(remote) else "differs"

    def apply(remote: Remote) -> None:
        remote.put(remote.layout.bus_config, rendered(remote))

    return Step("bus: configuration", check, apply)


def connects(remote: Remote) -> bool:
    address = bus_address(remote) or "127.0.0.1"
    probe = f"import socket; socket.create_connection(({address!r}, {BUS_PORT}), 2).close()"
    return remote.run(f"{quote(remote.python)} -c {quote(probe)}", check=False).exit_code == 0


def port_free() -> Step:
    def check(remote: Remote) -> str:
        ours = supervisor_of(remote).states().get("bus") == "running"
        if ours or not connects(remote):
            return ""
        return f"port {BUS_PORT} is in use"

    def apply(remote: Remote) -> None:
        where = f"{bus_address(remote) or '0.0.0.0'}:{BUS_PORT}"
        found = remote.facts.listener_on(bus_address(remote) or "0.0.0.0")
        who = f"process {found.pid} ({found.command})" if found and found.pid else "a process"
        raise Conflict(
            f"{where} is in use on {remote.name} by {who} that is not ours",
            hint=f"on {remote.name}: ss -ltnp 'sport = :{BUS_PORT}', end it, and run this again",
        )

    return Step("bus: port free", check, apply)


def unit() -> Step:
    def wanted(remote: Remote) -> Unit:
        layout = remote.layout
        read = (layout.nats_server, layout.bus_config, layout.etc("bus/server.pem"))
        return Unit(
            "bus",
            (layout.nats_server, "-c", layout.bus_config),
            environment=COLLECT_EARLY | changes_with(remote, *read, archive=False),
        )

    return unit_step("bus: start", "bus", wanted)


def listening() -> Step:
    def check(remote: Remote) -> str:
        return "" if connects(remote) else "does not listen yet"

    def apply(remote: Remote) -> None:
        address = bus_address(remote) or "127.0.0.1"
        wait = (
            "import socket, time\n"
            f"end = time.monotonic() + {LISTENS_WITHIN_S}\n"
            "while True:\n"
            "    try:\n"
            f"        socket.create_connection(({address!r}, {BUS_PORT}), 2).close(); break\n"
            "    except OSError:\n"
            "        if time.monotonic() > end: raise SystemExit(1)\n"
            "        time.sleep(0.05)\n"
        )
        done = remote.run(
            f"{quote(remote.python)} -",
            stdin=wait.encode(),
            timeout_s=LISTENS_WITHIN_S + 10,
            check=False,
        )
        if done.exit_code != 0:
            tail = remote.run(f"tail -n 5 {quote(remote.layout.log('bus'))}", check=False)
            raise OakError(
                f"the bus has not listened on {address}:{BUS_PORT} within {LISTENS_WITHIN_S} s",
                hint=f"oakctl host run {remote.name} -- cat {remote.layout.log('bus')}",
                details=tail.last_lines(),
            )

    return Step("bus: listening", check, apply)


def hashed(secret: bytes) -> str:
    """Cost 4: the secret has 128 random bits, and every connect pays the cost."""
    return bcrypt.hashpw(secret, bcrypt.gensalt(4)).decode()


def matches(secret: bytes, hash_text: str) -> bool:
    return bool(secret and hash_text) and bcrypt.checkpw(secret, hash_text.encode())
