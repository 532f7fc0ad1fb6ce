"""Raspberry Pi: the memory control group, without which memory limits are not enforced.

Raspberry Pi OS boots without it. It is turned on in the kernel's command line, which is one line
in one file; it counts from the next boot on. The file as it was is kept beside it.
"""

from __future__ import annotations

from shlex import quote

from oakctl.errors import OakError
from oakctl.remote import raspberry_pi
from oakctl.remote.step import Remote, Step

KEPT = ".before-oakctl"


def steps(_: object = None) -> list[Step]:
    return [command_line()]


def command_line() -> Step:
    def text(remote: Remote) -> str:
        file = remote.facts.command_line.file
        return remote.root(f"cat {quote(file)}").stdout if file else ""

    def check(remote: Remote) -> str:
        facts = remote.facts
        if facts.control.memory or not facts.command_line.file:
            return ""
        if not raspberry_pi.enables_memory(text(remote).partition("\n")[0]):
            return "the memory control group is off"
        if raspberry_pi.enables_memory(facts.command_line.text):
            raise OakError(
                f"the memory control group is off although {facts.command_line.file} turns it on",
                hint=f"on {remote.name}: boot it; if that does not help, its firmware is old: "
                "sudo rpi-eeprom-update -a && sudo apt full-upgrade && sudo reboot",
            )
        return ""

    def apply(remote: Remote) -> None:
        file = quote(remote.facts.command_line.file)
        # No modes are set: the boot partition has none.
        remote.root(
            f"set -e; [ -e {file}{KEPT} ] || cp {file} {file}{KEPT}; "
            f"cat >{file}.new; sync; mv -f {file}.new {file}; sync",
            stdin=raspberry_pi.with_memory(text(remote)).encode(),
        )

    return Step("raspberry_pi: memory control group, from the next boot on", check, apply)
