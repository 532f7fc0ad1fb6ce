"""The kernel's command line of a Raspberry Pi: one line in a file, of which nothing else counts.

Belongs here: the text before and after. Does not belong here: reading or writing it on a host
(`facts`, `playbooks/raspberry_pi.py`).
"""

from __future__ import annotations

MEMORY = ("cgroup_enable=memory", "cgroup_memory=1")


def enables_memory(line: str) -> bool:
    """Whether this command line turns the memory control group on."""
    words = line.split()
    return MEMORY[0] in words and "cgroup_disable=memory" not in words


def with_memory(text: str) -> str:
    """The file with the memory control group turned on, on its first line; twice changes nothing.

    Further lines, which the kernel ignores, stay as they are.
    """
    line, newline, rest = text.partition("\n")
    words = [word for word in line.split(" ") if word != "cgroup_disable=memory"]
    words += [word for word in MEMORY if word not in words]
    return " ".join(word for word in words if word) + newline + rest


def remedy(file: str) -> str:
    """What to type on the host."""
    words = " ".join(MEMORY)
    return f"sudo sed -i.before-oakctl '1 s/$/ {words}/' {file} && sudo reboot"
