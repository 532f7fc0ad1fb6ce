"""The kernel's command line of a Raspberry Pi: what is put there, and taken away again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote import raspberry_pi
from oakctl.remote.raspberry_pi import DISABLED, MEMORY, State

words = st.sampled_from(["quiet", "rootwait", "root=PARTUUID=1", *MEMORY, DISABLED])
lines = st.lists(words, max_size=8, unique=True).map(" ".join)
rests = st.sampled_from(["", "\n", "\nsecond line\n"])


@given(lines, rests)
def test_what_was_put_there_goes_and_what_was_taken_comes_back(line: str, rest: str) -> None:
    before = line + rest
    after = raspberry_pi.with_memory(before)
    assert raspberry_pi.enables_memory(after.partition("\n")[0])
    added, removed = raspberry_pi.added(before, after), raspberry_pi.added(after, before)
    # Somebody has put a word of theirs there meanwhile.
    edited = after.replace(after.partition("\n")[0], f"{after.partition(chr(10))[0]} theirs", 1)
    back = raspberry_pi.without(edited, added, removed)
    assert sorted(back.partition("\n")[0].split()) == sorted([*line.split(), "theirs"])
    assert back.partition("\n")[2] == before.partition("\n")[2]


def test_what_is_left_to_do() -> None:
    """The firmware puts `cgroup_disable=memory` before the line of the file (raspberrypi/linux
    bcm2711-rpi-ds.dtsi), so that it stands in /proc/cmdline of every Pi."""
    line, on = "root=x rootwait\n", "root=x rootwait cgroup_enable=memory cgroup_memory=1\n"

    def state(file: str, booted: str, works: bool = False) -> State:
        return raspberry_pi.state(works=works, file_text=file, booted_with=booted)

    assert state(line, f"{DISABLED} {line}", works=True) is State.ON
    assert state(line, f"{DISABLED} {line}") is State.OFF
    assert state(on, f"{DISABLED} {line}") is State.NEXT_BOOT
    assert state(on, f"{DISABLED} {on}") is State.IGNORED
    # A second line counts for nothing (k3s-io/k3s#3283).
    assert state(f"{line}{' '.join(MEMORY)}\n", f"{DISABLED} {line}") is State.OFF
