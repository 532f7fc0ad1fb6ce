"""A fault on its host: noted there, its end prepared before it begins. Pure.

    <prefix>/chaos/<key>/record   what it is, for people (JSON, one line)
    <prefix>/chaos/<key>/since    seconds since the epoch, by the host's clock
    <prefix>/chaos/<key>/boot     the run of the kernel that it was made in
    <prefix>/chaos/<key>/token    a random word: an earlier timer ends nothing of a later fault
    <prefix>/chaos/<key>/undo     a script that takes all of it away, this folder last
    <prefix>/chaos/<key>/wait     a shell that waits for its end; where systemd does not
    <prefix>/chaos/<key>/act      what is repeated until it ends; usually not there

Nothing but the host is needed for its end: a transient timer of systemd, or where that is not ours
a shell that waits. Belongs here: the scripts around a deed. Does not belong here: the deed
(`deeds`), reading what is noted (`records`).
"""

from __future__ import annotations

import math
from shlex import quote

from oakctl.chaos.deeds import Deed

FOLDER = "chaos"  # below the prefix
DONE = "oakctl-chaos-done"  # before the host's time, when the fault is in force
BEGIN = """set -eu
umask 077
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export PATH LC_ALL=C
"""
SAY_DONE = f'echo "{DONE} $(date +%s.%N)"\n'

# $1 the folder of the fault, $2 its token, $3 seconds. It looks each second, so that it ends soon
# after the fault was ended otherwise, and counts by a clock that nobody sets.
WAIT = """
trap '' HUP
now() { cut -d. -f1 /proc/uptime; }
end=$(($(now) + $3))
while [ "$(cat "$1/token" 2>/dev/null)" = "$2" ]; do
    [ "$(now)" -lt "$end" ] || exec sh "$1/undo"
    [ ! -e "$1/act" ] || sh "$1/act" >/dev/null 2>&1
    sleep 1
done
"""

# What an earlier run of the kernel left has no timer any more, and the same again replaces.
CLEAR = """
boot=$(cat /proc/sys/kernel/random/boot_id)
for old in "$base"/*/undo; do
    [ -e "$old" ] || continue
    [ "$(cat "${old%undo}boot" 2>/dev/null)" = "$boot" ] || sh "$old" || :
done
[ ! -e "$dir/undo" ] || sh "$dir/undo"
"""


def once(deed: Deed) -> str:
    """The script for a fault that is over as soon as it has happened."""
    return f"{BEGIN}{deed.act}{SAY_DONE}"


def lasting(
    deed: Deed, *, prefix: str, key: str, token: str, record: str, seconds: float, timer: str
) -> str:
    """The script for a fault that ends by itself after `seconds`, by `timer` (`Means.timer`).

    Whatever fails in it, nothing of the fault is left; whatever cuts it off, the timer undoes it.
    """
    base = f"{prefix}/{FOLDER}"
    files = {"token": token, "record": record, "undo": undo(deed, prefix, key, timer)}
    if deed.again:
        files["act"] = f"{_places(base, key)}{deed.act}"
    if deed.again or timer == "shell":
        files["wait"] = WAIT
    puts = "".join(f'printf %s {quote(text)} >"$dir/{name}"\n' for name, text in files.items())
    begin = "" if deed.again else deed.act
    return (
        f"{BEGIN}{_places(base, key)}{CLEAR}"
        'mkdir -p "$dir"\n'
        'printf %s "$boot" >"$dir/boot"; date +%s >"$dir/since"\n'
        f"{puts}"
        "trap 'code=$?; [ $code = 0 ] || sh \"$dir/undo\"; exit $code' EXIT\n"
        f"{_timer(key, token, math.ceil(seconds), timer, again=deed.again)}"
        f"{begin}{SAY_DONE}"
    )


def undo(deed: Deed, prefix: str, key: str, timer: str) -> str:
    """The script that ends a fault, whoever runs it, as often as one likes."""
    stop = {
        "system": f"systemctl stop {unit(key)}.timer 2>/dev/null\n",
        "user": f"{USER} systemctl --user stop {unit(key)}.timer 2>/dev/null\n",
    }
    return (
        "PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin; export PATH\n"
        f"{_places(f'{prefix}/{FOLDER}', key)}"
        '[ -e "$dir" ] || exit 0\n'
        f"{_checked(deed.undo)}"
        'rm -rf "$dir" && { rmdir "$base" 2>/dev/null; :; } || exit 1\n'
        f"{stop.get(timer, '')}exit 0\n"
    )


def end(prefix: str, key: str) -> str:
    """The script that ends this one fault now, if it is there."""
    return f'{BEGIN}{_places(f"{prefix}/{FOLDER}", key)}[ ! -e "$dir/undo" ] || sh "$dir/undo"\n'


USER = 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"'


def unit(key: str) -> str:
    """What systemd calls the timer of a fault."""
    return f"oakctl-chaos-{key}"


def _checked(script: str) -> str:
    """What fails keeps its record, so that it is found, and tried again."""
    return f"(\n{script}\n) || exit 1\n" if script else ""


def _places(base: str, key: str) -> str:
    return f'base={quote(base)}; dir="$base/{key}"\n'


def _timer(key: str, token: str, seconds: int, timer: str, *, again: bool) -> str:
    name = unit(key)
    waits = f'/bin/sh "$dir/wait" "$dir" {quote(token)} {seconds}'
    if timer == "shell":
        return f"setsid {waits} </dev/null >/dev/null 2>&1 &\n"
    scope = "" if timer == "system" else " --user"
    systemctl = f"systemctl{scope}"
    environment = "" if timer == "system" else f"{USER}; export XDG_RUNTIME_DIR\n"
    gone = (
        f"{systemctl} stop {name}.timer {name}.service 2>/dev/null || :\n"
        f"{systemctl} reset-failed {name}.timer {name}.service 2>/dev/null || :\n"
    )
    run = f"systemd-run{scope} --quiet --collect --unit={name}"
    if again:
        return f"{environment}{gone}{run} {waits}\n"
    after = f"--on-active={seconds}s --timer-property=AccuracySec=250ms"
    return f'{environment}{gone}{run} {after} /bin/sh "$dir/undo"\n'
