"""The bus server's configuration: nats.conf, and the included file with the cluster's users.

Belongs here: pure renderers of both files, and how a new set of users comes into force (dry run,
atomic replacement, SIGHUP). Does not belong here: how a client connects (`orchestration.bus`),
or who is enrolled when (`enrolment`).

`etc/bus/users.json` is the source of truth for users; `users.inc` is rendered from it. A crash
between the two writes is repaired by applying the source again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oakctl.errors import Conflict, OakError, UsageError
from oakctl.model import subjects
from oakctl.model.config import HostLayout, endpoint
from oakctl.model.peers import peer_user
from oakctl.model.roots import granted_user
from oakctl.model.tokens import token_user

ROLE_ORCHESTRATOR = "orchestrator"
ROLE_ROOT = "root"
ROLE_WORKER = "worker"
ROLE_GRANTED = "granted-root"
ROLE_JOINING = "joining"
ROLE_PEER = "peer"

DRY_RUN_TIMEOUT_S = 20.0
MAX_PAYLOAD = 8 * 1024 * 1024  # bytes; a ClusterState of a big cluster travels in one message
RESERVED_USERS = (subjects.USER_ORCHESTRATOR, subjects.USER_ROOT, subjects.USER_WATCHER)

# Both are written into nats.conf, where a quote or a brace would be configuration.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")

_INCLUDE = "users.inc"
_CONFIG = """\
server_name: "{cluster}"
listen: "{listen}"
pid_file: "{pid_file}"
tls {{
  cert_file: "{certificate}"
  key_file: "{key}"
  min_version: "1.3"
}}
max_payload: {max_payload}
ping_interval: "10s"
ping_max: 2
write_deadline: "5s"
jetstream {{
  store_dir: "{store}"
  max_memory_store: 64MB
  max_file_store: 10GB
  sync_interval: always
}}
accounts {{
  SYS {{
    users: [
      {{
        user: "{watcher}"
        password: "{watcher_hash}"
        permissions: {{
          publish: {{ allow: {watcher_publish} }}
          subscribe: {{ allow: {watcher_subscribe} }}
        }}
      }}
    ]
  }}
  {account} {{
    jetstream: enabled
    include "{include}"
  }}
}}
system_account: SYS
"""


def check_name(name: str, what: str) -> str:
    """`name` when it may stand in subjects and configuration; raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} can't be the name of a {what}",
            hint="use letters, digits, - and _ (63 at most, a letter or digit first)",
        )
    return name


def check_worker_name(name: str) -> str:
    """`name` when a worker may be called so; raises UsageError."""
    if name in RESERVED_USERS:
        raise UsageError(f"{name!r} is a user of the bus already", hint="choose another name")
    return check_name(name, "worker")


def render_config(
    listen_host: str, port: int, cluster: str, layout: HostLayout, watcher_hash: str
) -> str:
    """nats.conf; it includes `users.inc` beside it, which `render_users` writes.

    `watcher_hash` is the bcrypt hash of the watcher's password. Raises UsageError for a name or
    a hash that can't stand in a configuration.
    """
    account = subjects.ACCOUNT
    watcher_publish = ["$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.VARZ"]
    watcher_subscribe = [
        f"$SYS.ACCOUNT.{account}.CONNECT",
        f"$SYS.ACCOUNT.{account}.DISCONNECT",
        subjects.inbox(subjects.USER_WATCHER) + ".>",
    ]
    return _CONFIG.format(
        cluster=check_name(cluster, "cluster"),
        listen=endpoint(listen_host, port),
        pid_file=layout.bus_pid,
        certificate=layout.etc("bus/server.pem"),
        key=layout.etc("bus/server.key"),
        max_payload=MAX_PAYLOAD,
        store=layout.state("bus"),
        watcher=subjects.USER_WATCHER,
        watcher_hash=_check_hash(watcher_hash),
        watcher_publish=json.dumps(watcher_publish),
        watcher_subscribe=json.dumps(watcher_subscribe),
        account=account,
        include=_INCLUDE,
    )


def render_users(users: Mapping[str, Mapping[str, str]]) -> str:
    """The included file: name → {"role": one of ROLE_*, "hash": bcrypt}.

    Raises UsageError for a name, role or hash that can't be.
    """
    return "users: [\n" + "".join(_user(name, users[name]) for name in sorted(users)) + "]\n"


def read_users(layout: HostLayout) -> dict[str, dict[str, str]]:
    """The users of `etc/bus/users.json`; raises OakError when it can't be read."""
    path = Path(layout.bus_users_source)
    try:
        users = json.loads(path.read_text())["users"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OakError(
            f"{path} does not hold the users of the bus: {error}",
            hint="run `oakctl cluster create` again for this cluster's host",
        ) from error
    return {str(name): {k: str(v) for k, v in user.items()} for name, user in users.items()}


def apply_users(layout: HostLayout, users: Mapping[str, Mapping[str, str]]) -> bool:
    """Bring exactly these users into force: dry run, replace both files, SIGHUP.

    Returns whether a running server was told (one that is down reads the files when it starts).
    Blocks for the dry run. Raises UsageError for a bad user, Conflict when nats-server refuses
    the result; the files in force are untouched then.
    """
    rendered = render_users(users)
    _dry_run(layout, rendered)
    source = json.dumps({"users": users}, indent=1, sort_keys=True) + "\n"
    write_private(layout.bus_users_source, source)
    write_private(layout.bus_users, rendered)
    return reload_server(layout)


def in_force(layout: HostLayout, users: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether `users.inc` is already what `users` renders to."""
    try:
        return Path(layout.bus_users).read_text() == render_users(users)
    except FileNotFoundError:
        return False


def reload_server(layout: HostLayout) -> bool:
    """SIGHUP to the server named by the pid file; False when there is none running."""
    pid = server_pid(layout)
    if pid is None:
        return False
    os.kill(pid, signal.SIGHUP)
    return True


def server_pid(layout: HostLayout) -> int | None:
    """The running server's process id by its pid file, or None.

    A stale file may name a stranger by now, so the process has to be a nats-server.
    """
    try:
        pid = int(Path(layout.bus_pid).read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if name.startswith("nats-server") else None


def write_private(path: str, text: str) -> None:
    """Replace a file of mode 0600 atomically and durably."""
    temporary = Path(f"{path}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(temporary.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _dry_run(layout: HostLayout, users: str) -> None:
    # The included file is named inside the configuration, so the trial needs a copy of both.
    config = Path(layout.bus_config)
    trial_config, trial_users = config.with_name("trial.conf"), config.with_name("trial.inc")
    text = config.read_text().replace(f'include "{_INCLUDE}"', f'include "{trial_users.name}"')
    try:
        write_private(str(trial_config), text)
        write_private(str(trial_users), users)
        done = subprocess.run(
            [layout.nats_server, "-c", str(trial_config), "-t"],
            capture_output=True,
            text=True,
            timeout=DRY_RUN_TIMEOUT_S,
            check=False,
        )
    finally:
        trial_config.unlink(missing_ok=True)
        trial_users.unlink(missing_ok=True)
    if done.returncode != 0:
        lines = tuple((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Conflict(
            "nats-server refuses the new users; the old ones stay in force",
            hint=f"look at {config} on this host",
            details=lines,
        )


def _user(name: str, user: Mapping[str, str]) -> str:
    check_name(name, "bus user")
    lines = [f'user: "{name}"', f'password: "{_check_hash(user.get("hash", ""))}"']
    permissions = _permissions(name, user.get("role", ""))
    if permissions is not None:
        lines.append(f"permissions: {json.dumps(permissions)}")
    return "  {\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _permissions(name: str, role: str) -> dict[str, Any] | None:
    inbox = subjects.inbox(name) + ".>"
    # Lets a client answer what it was asked, and nothing else outside its own subjects.
    answers = {"max": 1, "expires": "60s"}
    if role == ROLE_ORCHESTRATOR:
        return None  # everything in the cluster's account
    if role == ROLE_ROOT:
        return {
            "publish": {"allow": [subjects.CTL_ALL]},
            "subscribe": {"allow": [subjects.UP_ALL, inbox]},
            "allow_responses": answers,
        }
    if role == ROLE_WORKER:
        publish = [
            subjects.heartbeat(name),
            subjects.observed(name, ">"),
            subjects.ask(name, ">"),
        ]
        return {
            "publish": {"allow": publish},
            "subscribe": {"allow": [subjects.command(name, ">"), inbox]},
            "allow_responses": answers,
        }
    if role == ROLE_GRANTED:
        account = name.removeprefix(granted_user(""))
        asked = [subjects.of_root(account, subject) for subject in subjects.GRANTED]
        # Frames are known by a session's secret name, whoever sends them.
        return {
            "publish": {"allow": [*asked, subjects.frame_from_root("*")]},
            "subscribe": {"allow": [subjects.of_root(account, subjects.UP_ALL), inbox]},
            "allow_responses": answers,
        }
    if role == ROLE_JOINING:
        return {
            "publish": {"allow": [subjects.join(name.removeprefix(token_user("")))]},
            "subscribe": {"allow": [inbox]},
        }
    if role == ROLE_PEER:
        other = name.removeprefix(peer_user(""))
        return {
            "publish": {"allow": [subjects.peer(other, subjects.PEER_SYNC)]},
            "subscribe": {"allow": [subjects.peer(other, subjects.PEER_WORD), inbox]},
        }
    raise UsageError(f"{role!r} is no role of a bus user", hint="orchestrator, root or worker")


def _check_hash(value: str) -> str:
    if not _BCRYPT.fullmatch(value):
        raise UsageError("a bus password has to be given as its bcrypt hash")
    return value
