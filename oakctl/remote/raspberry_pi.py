"""The kernel's command line of a Raspberry Pi: one line in a file, of which nothing else counts.

Raspberry Pi OS boots without the memory control group: the firmware puts `cgroup_disable=memory`
before the line of the file, and words in that line take it back.

Belongs here: the text before and after, and what is left to do. Does not belong here: reading or
writing it on a host (`facts`, `playbooks/raspberry_pi.py`).
"""

from __future__ import annotations

from enum import Enum

MEMORY = ("cgroup_enable=memory", "cgroup_memory=1")
DISABLED = "cgroup_disable=memory"


class State(Enum):
    """What is left to do for the memory control group."""

    ON = "it is on"
    OFF = "the file does not turn it on"
    NEXT_BOOT = "the file turns it on, from the next boot on"
    IGNORED = "the kernel was booted with it, and has it off"


def state(*, works: bool, file_text: str, booted_with: str) -> State:
    """`works`: the group is there. `booted_with` is the running kernel's /proc/cmdline."""
    if works:
        return State.ON
    if not enables_memory(file_text.partition("\n")[0]):
        return State.OFF
    waits = waits_for_boot(file_text.partition("\n")[0], booted_with)
    return State.NEXT_BOOT if waits else State.IGNORED


def waits_for_boot(line: str, booted_with: str) -> bool:
    """Whether the file's line turns the group on for a kernel that was booted without it."""
    return bool(booted_with) and enables_memory(line) and MEMORY[0] not in booted_with.split()


def enables_memory(line: str) -> bool:
    """Whether this line of the file turns the memory control group on."""
    words = line.split()
    return MEMORY[0] in words and DISABLED not in words


def with_memory(text: str) -> str:
    """The file with the memory control group turned on, on its first line; twice changes nothing.

    Further lines, which the kernel ignores, stay as they are.
    """
    line, newline, rest = text.partition("\n")
    words = [word for word in line.split(" ") if word != DISABLED]
    words += [word for word in MEMORY if word not in words]
    return " ".join(word for word in words if word) + newline + rest


def added(before: str, after: str) -> list[str]:
    """The words on the first line of `after` that are not on that of `before`."""
    had = before.partition("\n")[0].split()
    return [word for word in after.partition("\n")[0].split() if word not in had]


def without(text: str, words: list[str], again: list[str]) -> str:
    """The file with `words` gone from its first line, and `again` back at its end."""
    line, newline, rest = text.partition("\n")
    kept = [word for word in line.split(" ") if word and word not in words]
    kept += [word for word in again if word not in kept]
    return " ".join(kept) + newline + rest


def remedy(file: str) -> str:
    """What to type on the host."""
    words = " ".join(MEMORY)
    return f"sudo sed -i.before-oakctl '1 s/$/ {words}/' {file} && sudo reboot"


FIRMWARE = "sudo rpi-eeprom-update -a && sudo apt full-upgrade && sudo reboot"
