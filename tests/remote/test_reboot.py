"""A restart that is waited for: what proves it, and when it is given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.remote import reboot
from oakctl.remote.reboot import Awaited
from oakctl.remote.step import Cancelled, CommandFailed, Completed

BEFORE, AFTER = "0" * 36, "1" * 36

looks = st.lists(st.tuples(st.sampled_from([BEFORE, ""]), st.floats(0, 10)), max_size=80)


@given(looks)
def test_only_another_boot_id_is_the_end_of_waiting(seen: list[tuple[str, float]]) -> None:
    awaited, now = Awaited("pi", BEFORE, 0.0), 0.0
    overdue: DeadlineExceeded | None = None
    for boot_id, seconds in seen:
        now += seconds
        try:
            if boot_id:
                assert not awaited.answered(boot_id, now)
            else:
                awaited.silent("pi: no answer", now)
        except DeadlineExceeded as error:
            overdue = error
            break
    assert (overdue is not None) == (now >= reboot.BACK_WITHIN_S and bool(seen))
    assert overdue is None or str(overdue).count("pi: ") == 1
    assert awaited.answered(AFTER, now)


@dataclass
class Host:
    """A host that goes through `lives`: a boot id, or an error that every command raises."""

    lives: Sequence[str | OakError]
    refuses: bool = False
    name: str = "pi"
    commands: list[str] = field(default_factory=list)
    renewed: int = 0
    left: Iterator[str | OakError] = field(init=False)

    def __post_init__(self) -> None:
        self.left = iter(self.lives)
        self.now: str | OakError = next(self.left)

    def root(self, command: str, *, timeout_s: float) -> Completed:
        self.commands.append(command)
        if self.refuses:
            raise CommandFailed(Completed(command, 1, "", "Operation inhibited"))
        raise Unreachable("pi: the connection was lost")

    def as_login(self, command: str, *, timeout_s: float) -> Completed:
        if isinstance(self.now, OakError):
            raise self.now
        return Completed(command, 0, f"{self.now}\n", "")

    def redial(self) -> None:
        self.now = next(self.left)

    def pause(self, seconds: float) -> None:
        if not seconds:
            raise Cancelled("pi: stopped")

    def renew(self) -> None:
        self.renewed += 1


def test_a_host_goes_down_and_comes_back() -> None:
    host = Host([BEFORE, BEFORE, Unreachable("pi: refused"), "System is booting up.", AFTER])
    reboot.carry_out(host)
    assert host.commands == [reboot.RESTART]
    assert host.renewed == 1


def test_one_that_does_not_come_back_says_what_it_last_said() -> None:
    host = Host([BEFORE, Unreachable("pi: nothing answers at 10.0.0.1:22")])
    with pytest.raises(DeadlineExceeded, match=r"nothing answers at 10\.0\.0\.1:22") as error:
        reboot.carry_out(host, within_s=0)
    assert "carries on" in error.value.hint
    assert host.renewed == 0


def test_one_that_refuses_to_restart_is_not_waited_for() -> None:
    with pytest.raises(CommandFailed):
        reboot.carry_out(Host([BEFORE], refuses=True))


def test_what_waiting_does_not_cure_ends_it() -> None:
    host = Host([BEFORE, OakError("pi: the home directory is gone")])
    with pytest.raises(OakError, match="the home directory is gone"):
        reboot.carry_out(host)
