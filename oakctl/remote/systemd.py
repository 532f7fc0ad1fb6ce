"""Keeping a process running by systemd: the system's, or the login user's own.

Belongs here: unit files (pure) and the calls of systemctl. Does not belong here: which of the two
a host has (`residence`), and what the units are (`playbooks/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import join, quote

from oakctl.errors import OakError
from oakctl.model.config import HostLayout, Unit
from oakctl.remote.step import Remote

SYSTEM_DIRECTORY = "/etc/systemd/system"
USER_DIRECTORY = ".config/systemd/user"  # below the home directory
# What it takes for a unit of a user who never had one; each is noted before it is made.
USER_DIRECTORIES = (
    ".config",
    ".config/systemd",
    USER_DIRECTORY,
    f"{USER_DIRECTORY}/default.target.wants",
)
MAKE = """
set -e; umask 077; list=$1; cd "$2"; shift 2
for folder; do
  [ -d "$folder" ] || { echo "$PWD/$folder" >>"$list"; mkdir "$folder"; }
done
"""
UNMAKE = """
[ -e "$1" ] || exit 0
tac "$1" | while IFS= read -r folder; do rmdir "$folder" 2>/dev/null; done
"""
# $1 "--user" or nothing, then units; a line "UNIT STATE" for each.
ASK = """
scope=$1; shift
for unit; do echo "$unit $(systemctl $scope is-active "$unit")"; done
"""
OPEN_FILES = 65536
STOP_S = 10  # our processes end within 5 s
# What `systemctl is-active` says, in our words; all else is stopped.
STATES = {"active": "running", "reloading": "running", "activating": "backing-off"}
KEEPS_CHILDREN = ("agent",)  # instances live on when their agent ends


def service(name: str) -> str:
    """What systemd calls our unit."""
    return f"oakctl-{name}.service"


def render(unit: Unit, layout: HostLayout, *, user: bool) -> str:
    """The unit file of one of our processes."""
    log = layout.log(unit.name)
    lines = [
        "[Unit]",
        f"Description=oakctl {unit.name}",
        "After=network.target" if user else "After=network-online.target",
        *([] if user else ["Wants=network-online.target"]),
        # Never given up: a bus that is away for a night is no reason to stop trying.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={' '.join(_word(word) for word in unit.argv)}",
        *(f"Environment={_word(f'{key}={value}')}" for key, value in unit.environment.items()),
        f"WorkingDirectory={_path(unit.working_directory or str(layout.prefix))}",
        f"StandardOutput=append:{_path(log)}",
        f"StandardError=append:{_path(log)}",
        "Restart=always",
        "RestartSec=1",
        f"TimeoutStopSec={STOP_S}",
        f"LimitNOFILE={OPEN_FILES}",
        "UMask=0077",
    ]
    if unit.name in KEEPS_CHILDREN:
        lines += ["KillMode=process", "Delegate=yes"]
    lines += ["", "[Install]", f"WantedBy={'default' if user else 'multi-user'}.target", ""]
    return "\n".join(lines)


def _word(text: str) -> str:
    """One argument of ExecStart: quoted, and neither a specifier nor a variable in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("$", "$$") + '"'


def _sh(script: str, *arguments: str) -> str:
    return join(["sh", "-c", script, "sh", *arguments])


def _path(text: str) -> str:
    return text.replace("%", "%%")


def states(host: str, units: Sequence[str], said: str) -> dict[str, str]:
    """What the answer to `ASK` means for `units`: our names of them → running, stopped, …

    Raises OakError when systemd has not answered for one: that is no state of it.
    """
    answers = {line[0]: line[1] for line in map(str.split, said.splitlines()) if len(line) == 2}
    silent = [unit for unit in units if unit not in answers]
    if silent:
        raise OakError(
            f"{host}: systemd does not say what {', '.join(silent)} does",
            hint=f"oakctl host run {host} -- systemctl status {silent[0]}",
        )
    return {
        unit.removeprefix("oakctl-").removesuffix(".service"): STATES.get(answers[unit], "stopped")
        for unit in units
    }


class SystemdSupervisor:
    """See `supervisor.Supervisor`. With `user`, the login user's own systemd."""

    def __init__(self, remote: Remote, *, user: bool) -> None:
        self._remote = remote
        self._user = user
        self._made = remote.layout.etc("directories")  # outside of our folder, by us
        self._directory = f"{remote.facts.home}/{USER_DIRECTORY}" if user else SYSTEM_DIRECTORY

    def _file(self, name: str) -> str:
        return f"{self._directory}/{service(name)}"

    def _systemctl(self, words: str, *, check: bool = True) -> str:
        scope = "--user " if self._user else ""
        return self._asked(f"systemctl {scope}{words}", check=check)

    def _asked(self, command: str, *, check: bool = True) -> str:
        # A session by SSH may lack the variable by which the user's systemd is found.
        here = 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" ' if self._user else ""
        return self._remote.run(here + command, timeout_s=60, check=check).stdout.strip()

    def put(self, unit: Unit) -> None:
        """See `Supervisor`. Whatever an earlier run came to, it is started anew."""
        if self._user:
            self._remote.run(_sh(MAKE, self._made, self._remote.facts.home, *USER_DIRECTORIES))
        text = render(unit, self._remote.layout, user=self._user).encode()
        if self._remote.read(self._file(unit.name)) != text:
            self._remote.put(self._file(unit.name), text, mode=0o644)
        self._systemctl("daemon-reload")
        self._systemctl(f"enable {service(unit.name)}")
        self.restart(unit.name)

    def remove(self, name: str) -> None:
        """See `Supervisor`."""
        file = quote(self._file(name))
        if self._remote.run(f"test -e {file}", check=False).exit_code != 0:
            return
        self._systemctl(f"disable --now {service(name)}")
        self._remote.run(f"rm -f {file}")
        if self._user:
            self._remote.run(_sh(UNMAKE, self._made), check=False)
        self._systemctl("daemon-reload")
        self._systemctl(f"reset-failed {service(name)}", check=False)  # where it has not failed

    def restart(self, name: str) -> None:
        """See `Supervisor`."""
        self._systemctl(f"restart {service(name)}")

    def states(self) -> dict[str, str]:
        """See `Supervisor`."""
        files = f"{quote(self._directory)}/{service('*')}"
        listed = self._remote.run(f'for f in {files}; do [ ! -e "$f" ] || echo "${{f##*/}}"; done')
        units = listed.stdout.split()
        if not units:
            return {}
        said = self._asked(_sh(ASK, "--user" if self._user else "", *units))
        return states(self._remote.name, units, said)
