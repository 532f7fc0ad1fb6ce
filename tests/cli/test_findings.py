"""What `host check` writes: every host, worst first, and nothing a terminal would act on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.cli import findings
from oakctl.model.views import HostCheck, HostFinding

BLOCK = HostFinding("pi-2", "block", "python", "python3 is missing", "apt-get install python3")
NOTE = HostFinding("pi-1", "note", "device", "Raspberry Pi 5")


def test_host_by_host() -> None:
    check = HostCheck(("pi-1", "pi-2", "pi-3"), (BLOCK, NOTE))
    assert findings.lines(check) == [
        "pi-1: usable (1 note)",
        "  note     device  Raspberry Pi 5",
        "pi-2: cannot be used as it is (1 blocks it)",
        "  block    python  python3 is missing",
        "                   -> apt-get install python3",
        "pi-3: usable",
    ]
    assert findings.blocks(check)
    assert not findings.blocks(HostCheck(("pi-1",), (NOTE,)))


@given(st.text(), st.text())
def test_what_a_host_says_is_only_text(message: str, remedy: str) -> None:
    hostile = HostFinding("pi-1", "note", "device", message, remedy)
    for line in findings.lines(HostCheck(("pi-1",), (hostile,))):
        assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066"]


def test_a_remedy_is_never_cut_off() -> None:
    long = HostFinding("pi-1", "note", "device", "m", "x" * 500)
    assert findings.lines(HostCheck(("pi-1",), (long,)))[-1].endswith("x" * 500)
