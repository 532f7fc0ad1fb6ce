"""Deeds, the envelope around them and the records: run by a real `sh` in a folder of this test."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.chaos import deeds, envelope, faults, records
from oakctl.chaos.deeds import Deed
from oakctl.chaos.faults import Kind
from oakctl.chaos.means import Means
from tests.chaos.samples import INSTANCE, REAL
from tests.waiting import until_now

ISOLATE = faults.fault(Kind.ISOLATE, "pi-1")


def sh(script: str, *arguments: str, check: bool = True) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", script, "sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": "/nonexistent"},
    )
    assert done.returncode == 0 or not check, done
    return done.stdout.splitlines()


class Here:
    """A prefix of this test, with a mark that stands for what a fault breaks."""

    def __init__(self, folder: Path) -> None:
        self.prefix = folder / "our place"
        self.prefix.mkdir()
        (self.prefix / "manifest.json").write_text("{}")
        self.mark = folder / "broken"

    def deed(self, act: str = "", undo: str = "") -> Deed:
        mark = f"'{self.mark}'"
        return Deed(act or f"touch {mark}\n", undo or f"rm -f {mark}")

    def script(self, deed: Deed, *, seconds: float = 3600, token: str = "t1") -> str:
        return envelope.lasting(
            deed,
            prefix=str(self.prefix),
            key="isolate",
            token=token,
            record=records.record(ISOLATE),
            seconds=seconds,
            timer="shell",
        )

    @property
    def noted(self) -> list[str]:
        folder = self.prefix / envelope.FOLDER
        return [each.name for each in folder.iterdir()] if folder.exists() else []

    def listed(self) -> list[records.InForce]:
        said = sh(records.BEGIN + records.LIST, "n0", str(self.prefix))
        assert records.is_whole(said, "n0")
        return records.in_force("pi-1", said, "n0")

    def heal(self) -> list[records.Healed]:
        said = sh(records.BEGIN + records.HEAL, "n0", str(self.prefix))
        return records.healed("pi-1", said, "n0")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_it_is_noted_listed_and_healed(here: Here) -> None:
    said = sh(here.script(here.deed()))
    assert any(line.startswith(envelope.DONE) for line in said)
    assert here.mark.exists()
    (found,) = here.listed()
    assert (found.fault, found.kind, found.note) == ("isolate pi-1", "isolate", "")
    assert found.until - found.since == faults.DEFAULT_S
    assert here.heal() == [records.Healed("pi-1", "isolate pi-1", True)]
    assert not here.mark.exists()
    assert here.noted == []
    assert here.heal() == []
    assert here.listed() == []


def test_its_timer_ends_it(here: Here) -> None:
    sh(here.script(here.deed(), seconds=1))
    until_now("the end of it", lambda: not here.noted)
    assert not here.mark.exists()


def test_the_timer_is_there_before_the_fault(here: Here) -> None:
    """Cut off in the middle: it ends all the same."""
    deed = here.deed(act=f"touch '{here.mark}'\nkill -s KILL $$\n")
    sh(here.script(deed, seconds=1), check=False)
    assert here.mark.exists()
    until_now("the end of it", lambda: not here.noted)
    assert not here.mark.exists()


def test_what_fails_leaves_nothing(here: Here) -> None:
    deed = here.deed(act=f"touch '{here.mark}'\necho 'it does not go' >&2; exit 3\n")
    sh(here.script(deed), check=False)
    assert not here.mark.exists()
    assert here.noted == []


def test_the_same_again_takes_the_place_of_the_first(here: Here) -> None:
    sh(here.script(here.deed(), seconds=1))
    other = here.mark.with_name("other")
    sh(here.script(Deed(f"touch '{other}'\n", f"rm -f '{other}'"), seconds=3600, token="t2"))
    assert not here.mark.exists()
    # The first one's timer has a second left, and must not end the second fault.
    until_now("the first timer's end", lambda: not running(here, "t1"))
    assert other.exists()
    assert here.noted == ["isolate"]
    here.heal()
    until_now("the second timer's end", lambda: not running(here, "t2"))


def running(here: Here, token: str) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if token in words and any(str(here.prefix) in word for word in words):
                return True
    return False


def test_what_does_not_end_is_still_noted(here: Here) -> None:
    sh(here.script(here.deed(undo="false")))
    assert here.heal() == [records.Healed("pi-1", "isolate pi-1", False)]
    assert here.noted == ["isolate"]
    (here.prefix / envelope.FOLDER / "isolate" / "token").unlink()  # its timer goes


def test_what_a_restart_left_is_told_and_cleared_by_the_next(here: Here) -> None:
    sh(here.script(here.deed()))
    folder = here.prefix / envelope.FOLDER / "isolate"
    (folder / "boot").write_text("an earlier one")
    assert [each.note for each in here.listed()] == ["left by a restart of the host"]
    folder.rename(folder.with_name("slow"))
    undo = (folder.with_name("slow") / "undo").read_text().replace("/isolate", "/slow")
    (folder.with_name("slow") / "undo").write_text(undo)
    sh(here.script(here.deed(), token="t2"))
    assert here.noted == ["isolate"]
    here.heal()


def test_a_repeated_deed_goes_on_until_its_end(here: Here) -> None:
    count = here.mark.with_name("count")
    deed = Deed(f"echo >>'{count}'\n", ":", again=True)
    sh(here.script(deed, seconds=3600))
    until_now("two of them", lambda: count.exists() and count.read_text().count("\n") >= 2)
    here.heal()
    until_now("the end of its shell", lambda: not running(here, "t1"))


def test_a_record_that_cannot_be_read_is_listed_by_its_name(here: Here) -> None:
    sh(here.script(here.deed()))
    (here.prefix / envelope.FOLDER / "isolate" / "record").write_text("{")
    assert [each.fault for each in here.listed()] == ["isolate"]
    here.heal()


def test_one_fault_alone_is_taken_back(here: Here) -> None:
    sh(here.script(here.deed()))
    sh(envelope.end(str(here.prefix), "partition-1"))
    assert here.mark.exists()
    sh(envelope.end(str(here.prefix), "isolate"))
    assert not here.mark.exists()


def test_an_instance_is_killed_by_its_record_and_by_nothing_else(here: Here) -> None:
    """Its whole group goes; a process whose id was given to somebody else since stays."""
    ours, other = (
        subprocess.Popen(["sh", "-c", "sleep 1000 & wait"], start_new_session=True)
        for _ in range(2)
    )
    try:
        run = here.prefix / "instances" / INSTANCE / "run"
        for attempt, process, late in ((1, other, 1), (2, ours, 0)):
            start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            who = {"pid": process.pid, "start": int(start) + late, "boot": boot, "shim": 1}
            (run / str(attempt)).mkdir(parents=True)
            (run / str(attempt) / "process").write_text(json.dumps(who) + " " * 40)
        its = Means(prefix=str(here.prefix))
        kill = envelope.once(
            deeds.deed(faults.fault(Kind.KILL_INSTANCE, INSTANCE), "k", its, instance=INSTANCE)
        )
        sh(kill)
        assert ours.wait(60) == -9
        assert other.poll() is None
        again = subprocess.run(["sh", "-c", kill], capture_output=True, text=True, check=False)
        assert again.returncode == deeds.NOT_POSSIBLE
        assert "does not run there now" in again.stderr
    finally:
        os.killpg(other.pid, 9)
        other.wait()


def rules(kind: Kind, **more: object) -> str:
    its = replace(REAL, **more)  # type: ignore[arg-type]
    fault = faults.fault(kind, "pi-1", peer="pi-2", bits_per_s=10**6)
    return deeds.deed(fault, "k", its, others=("10.0.0.7", "fd00::7", "192.168.1.20")).act


def test_isolation_lets_our_ssh_pass_and_nothing_else() -> None:
    text = rules(Kind.ISOLATE)
    assert "ip saddr 192.168.1.5 tcp dport 22 accept" in text
    assert "ip daddr 192.168.1.5 tcp sport 22 accept" in text
    assert 'iifname { "eth0" } drop' in text
    assert 'oifname { "eth0" } drop' in text
    assert "nd-neighbor-solicit" in rules(Kind.ISOLATE, client="fd00::5")
    assert "nd-neighbor-solicit" not in text


def test_a_partition_never_drops_the_hosts_own_address() -> None:
    text = rules(Kind.PARTITION)
    assert "ip saddr { 10.0.0.7 } drop" in text
    assert "ip6 daddr { fd00::7 } drop" in text
    assert "192.168.1.20 }" not in text


def test_tables_of_two_faults_are_two() -> None:
    names = {deeds.table_name(key) for key in ("isolate", "slow", "partition-1", "partition-2")}
    assert len(names) == 4
    assert all(name.startswith("oakctl_chaos_") for name in names)


def test_slow_uses_netem_for_delay_alone() -> None:
    slow = faults.fault(Kind.SLOW, "pi-1", bits_per_s=10**6)
    text = deeds.deed(slow, "slow", REAL).act
    assert "tbf rate 1000000bit" in text
    assert "limit rate over 125000 bytes/second" in text
    late = faults.fault(Kind.SLOW, "pi-1", delay_ms=100)
    deed = deeds.deed(late, "slow", REAL)
    assert "netem delay 100ms" in deed.act
    assert "nft" not in deed.act + deed.undo


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
@pytest.mark.parametrize("timer", ["system", "user", "shell"])
def test_every_script_is_one_for_sh(kind: Kind, timer: str) -> None:
    fault = faults.fault(
        kind, "a b", peer="it's", for_s=10, bits_per_s=10**6 if kind is Kind.SLOW else 0
    )
    for its in (REAL, replace(REAL, plain=True, docker=True), replace(REAL, prefix="/x/.oakctl")):
        deed = deeds.deed(fault, "key", its, instance="it's.instance.0", others=("10.0.0.1",))
        text = envelope.lasting(
            deed,
            prefix=its.prefix,
            key="key",
            token="t",
            record=records.record(fault),
            seconds=10,
            timer=timer,
        )
        for script in (text, envelope.undo(deed, its.prefix, "key", timer), envelope.once(deed)):
            subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=60)
