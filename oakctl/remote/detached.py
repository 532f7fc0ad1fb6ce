"""Long commands on a host that outlive the connection, and are gone on with by a later run.

A job is a script with a name. It is started in a session of its own on the host; a folder below
the prefix (`run/jobs/NAME`) has the script, its output, and a status: which script it is, process
id with start time and boot (so that another process of that number is not taken for it), how it
ended and when. `run` starts a job or, where that very script is at work or has just ended unseen,
goes on with that one: it is never run twice at a time. What a lost host or a power cut left half
done is started anew, so a script has to bear that.

An end that nobody saw is news to the run that is started again because its link went. What ended
an hour ago, or before a restart, says nothing of the host today: package sources have moved on, a
full disk was emptied. Such an end is forgotten, and the script runs anew.

Does not belong here: what is done (`packages`, the playbooks), commands that end within seconds
(`Remote.run`). A host is held by the run's lock, so that nobody else starts the same job.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from enum import Enum
from shlex import join, quote

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.remote.step import CommandFailed, Completed, Remote

FOLDER = "jobs"  # below run/
LOOK_S = 5  # seconds that one look waits on the host
BEGINS_WITHIN_S = 20
NEWS_S = 900  # seconds since its end in which a job's result counts for the run that finds it
MOST_OUTPUT = 200_000  # bytes of it that are fetched
LONGEST_LINE = 200  # characters of it that are told

# Arguments: the folder, the identity of the script. The shell that stays is this one: it is in a
# session that the end of the connection does not reach.
_KEEP = """
dir=$1
cd /
begun="id=$2
pid=$$
start=$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)
boot=$(cat /proc/sys/kernel/random/boot_id)"
printf '%s\\n' "$begun" >"$dir/status.new" && mv -f "$dir/status.new" "$dir/status" || exit
umask 022
sh "$dir/script" </dev/null >"$dir/output" 2>&1
ended="exit=$?
ended=$(cut -d. -f1 /proc/uptime)"
printf '%s\\n' "$begun" "$ended" >"$dir/status.new" && mv -f "$dir/status.new" "$dir/status"
"""

_BEGIN = f"""
set -e
umask 077
dir=$1
rm -rf "$dir"
mkdir -p "$dir"
cat >"$dir/script"
: >"$dir/output"
setsid sh -c {quote(_KEEP)} sh "$dir" "$2" </dev/null >/dev/null 2>&1 &
waited=0
until [ -e "$dir/status" ]; do
  [ $waited -lt {BEGINS_WITHIN_S * 10} ] || {{ echo "it did not begin" >&2; exit 1; }}
  sleep 0.1; waited=$((waited + 1))
done
"""

# Arguments: the folder, how long to wait for the end. Prints the status and the end of the output.
_LOOK = f"""
dir=$1
this_boot() {{
  [ "$(sed -n 's/^boot=//p' "$dir/status")" = "$(cat /proc/sys/kernel/random/boot_id)" ]
}}
running() {{
  pid=$(sed -n 's/^pid=//p' "$dir/status")
  this_boot && [ "$(sed -n 's/^start=//p' "$dir/status")" = \
    "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" ]
}}
[ -e "$dir/status" ] || exit 0
end=$(($(date +%s) + $2))
alive=no
while ! grep -q '^exit=' "$dir/status"; do
  # It may have ended since the line above: what it wrote last decides.
  running || {{ grep -q '^exit=' "$dir/status" || alive=lost; break; }}
  alive=yes
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.2
done
cat "$dir/status"
echo "alive=$alive"
# By the time since the host was started: its clock may be set in between.
ended=$(sed -n 's/^ended=//p' "$dir/status")
[ -n "$ended" ] && this_boot && echo "age=$(($(cut -d. -f1 /proc/uptime) - ended))"
echo
tail -c {MOST_OUTPUT} "$dir/output"
"""


class State(Enum):
    """What has become of a job."""

    NONE = "none"  # never begun, or its end was seen
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"  # gone without a word: the host was restarted, or somebody killed it


@dataclass(frozen=True)
class Job:
    """A job as it was found on its host; `id` tells which script it runs."""

    state: State
    id: str = ""
    exit_code: int = 0
    output: str = ""
    age_s: int | None = None  # since it ended; None: not in this boot of the host

    @property
    def is_news(self) -> bool:
        """Whether it has ended, and so lately that its result is one of today."""
        return self.state is State.ENDED and self.age_s is not None and self.age_s <= NEWS_S

    @property
    def last_line(self) -> str:
        """What it said last, as much of it as one looks at."""
        said = (line for line in reversed(self.output.splitlines()) if line.strip())
        return next(said, "")[:LONGEST_LINE]


def run(
    remote: Remote, name: str, script: str, *, timeout_s: float, check: bool = True
) -> Completed:
    """Have `script` (for `sh`, as the owner of the prefix) run to its end, and return that.

    Both of its outputs are in `stdout`. What it says last is told to who watches the step.
    Raises DeadlineExceeded after `timeout_s` seconds, Unreachable with the connection; the job
    goes on then, and the next call finds it. With `check`, raises CommandFailed when it fails.
    """
    deadline = time.monotonic() + timeout_s
    wanted = identity(script)
    found = look(remote, name, 0)
    if found.state is State.RUNNING and found.id != wanted:
        found = _followed(remote, name, deadline, timeout_s)
    if found.id != wanted or not (found.state is State.RUNNING or found.is_news):
        remote.run(_command(_BEGIN, _folder(remote, name), wanted), stdin=script.encode())
    ended = _followed(remote, name, deadline, timeout_s)
    forget(remote, name)
    if ended.state is not State.ENDED:
        raise OakError(
            f"{remote.name}: {name} ended without a word: the host was restarted, or it was killed",
            hint="run it again: it begins anew",
            details=tuple(ended.output.splitlines()[-5:]),
        )
    done = Completed(name, ended.exit_code, ended.output, "")
    if check and done.exit_code != 0:
        raise CommandFailed(done)
    return done


def look(remote: Remote, name: str, wait_s: int = LOOK_S) -> Job:
    """A job as it is, after at most `wait_s` seconds of waiting for its end."""
    said = remote.run(_command(_LOOK, _folder(remote, name), str(wait_s)), timeout_s=wait_s + 60)
    return parse(said.stdout)


def parse(text: str) -> Job:
    """What a look at a host printed."""
    head, _, output = text.partition("\n\n")
    values = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if not values.get("id"):
        return Job(State.NONE)
    if values.get("exit", "").isdigit():
        age = int(values["age"]) if values.get("age", "").isdigit() else None
        return Job(State.ENDED, values["id"], int(values["exit"]), output, age)
    state = State.RUNNING if values.get("alive") == "yes" else State.LOST
    return Job(state, values["id"], 0, output)


def identity(script: str) -> str:
    """By which a job is known to run this script."""
    return hashlib.sha256(script.encode()).hexdigest()[:16]


def names(remote: Remote) -> list[str]:
    """The jobs that are at work on the host."""
    listed = remote.run(f"ls {quote(_folder(remote, ''))} 2>/dev/null", check=False).stdout.split()
    return [name for name in listed if look(remote, name, 0).state is State.RUNNING]


def wait(remote: Remote, name: str, timeout_s: float) -> None:
    """Return when a job is over, whatever came of it; raises DeadlineExceeded."""
    _followed(remote, name, time.monotonic() + timeout_s, timeout_s)


def forget(remote: Remote, name: str) -> None:
    """Take away what is on the host of a job that is over."""
    remote.run(f"rm -rf {quote(_folder(remote, name))}")


def _followed(remote: Remote, name: str, deadline: float, timeout_s: float) -> Job:
    while True:
        left = deadline - time.monotonic()
        job = look(remote, name, max(0, min(LOOK_S, int(left))))
        if job.state is not State.RUNNING:
            return job
        remote.tell(job.last_line)
        if left <= 0:
            raise DeadlineExceeded(
                f"{remote.name}: {name} did not end within {timeout_s:g} s, and goes on there",
                hint="run it again: it is gone on with",
                details=tuple(job.output.splitlines()[-5:]),
            )


def _folder(remote: Remote, name: str) -> str:
    return remote.layout.run(f"{FOLDER}/{name}")


def _command(script: str, *arguments: str) -> str:
    return join(["sh", "-c", script, "sh", *arguments])
