"""Raspberry Pi: the memory control group, without which memory limits are not enforced.

Raspberry Pi OS boots without it. It is turned on in the kernel's command line, which is one line
in one file (/boot/firmware/cmdline.txt, before Debian 12 /boot/cmdline.txt), and counts from the
next boot on. The file as it was is kept beside it; a removal takes away what was put there.
"""

from __future__ import annotations

from shlex import quote

from oakctl.errors import OakError
from oakctl.remote import changes, host_files, raspberry_pi
from oakctl.remote.raspberry_pi import State
from oakctl.remote.step import Remote, Step

NAME = "raspberry_pi"


def steps() -> list[Step]:
    return [command_line(), restart()]


def undo() -> list[Step]:
    return [put_back()]


def command_line() -> Step:
    def check(remote: Remote) -> str:
        return "the memory control group is off" if state(remote) is State.OFF else ""

    def apply(remote: Remote) -> None:
        file = remote.facts.command_line.file
        before = text(remote, file)
        if not before.partition("\n")[0].split():
            raise OakError(
                f"{remote.name}: the first line of {file} is empty, with which it will not boot",
                hint=f"restore it; the kernel was booted with: cat /proc/cmdline on {remote.name}",
            )
        after = raspberry_pi.with_memory(before)
        # A run that was cut off between the two has noted it already.
        if NAME not in changes.read(remote):
            changes.record(
                remote,
                NAME,
                {
                    "file": file,
                    "added": raspberry_pi.added(before, after),
                    "removed": raspberry_pi.added(after, before),
                    "before": before,
                    "after": after,
                },
            )
        host_files.replace(remote, file, after)

    return Step(
        "raspberry_pi: memory control group, from the next boot on",
        check,
        apply,
        name="command-line",
        note=lambda remote: "" if remote.facts.command_line.file else "not a Raspberry Pi",
    )


def restart() -> Step:
    def check(remote: Remote) -> str:
        now = state(remote)
        if now is State.IGNORED:
            raise OakError(
                f"{remote.name}: the memory control group is off although "
                f"{remote.facts.command_line.file} turns it on: its firmware is old",
                hint=f"on {remote.name}: {raspberry_pi.FIRMWARE}",
            )
        needed = now in (State.OFF, State.NEXT_BOOT)
        return "the host restarts, and is waited for (5 min at most)" if needed else ""

    return Step(
        "raspberry_pi: restart into it",
        check,
        lambda remote: remote.reboot(),
        name="restart",
        reboots=True,
    )


def put_back() -> Step:
    def check(remote: Remote) -> str:
        return "the kernel's command line has words of ours" if NAME in changes.read(remote) else ""

    def apply(remote: Remote) -> str:
        made = changes.read(remote)[NAME]
        file = made["file"]
        now = host_files.read(remote, file)
        was = before(made, now or "")
        if was.split() and was != now:
            host_files.replace(remote, file, was)
        host_files.forget_copy(remote, file)
        changes.forget(remote, NAME)
        return "counts from the next boot on" if now else f"{file} is not there any more"

    return Step("raspberry_pi: command line as it was", check, apply)


def before(made: changes.Entry, now: str) -> str:
    """The file as it was; of one that somebody has edited since, only our words go."""
    if now == made["after"]:
        return str(made["before"])
    return raspberry_pi.without(now, made["added"], made["removed"])


def state(remote: Remote) -> State:
    file = remote.facts.command_line.file
    if not file:
        return State.ON  # nothing is ours to change
    return raspberry_pi.state(
        works=remote.facts.control.memory,
        file_text=text(remote, file),
        booted_with=remote.facts.command_line.booted_with,
    )


def text(remote: Remote, file: str) -> str:
    return remote.run(f"cat {quote(file)}").stdout
