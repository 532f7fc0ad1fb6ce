"""Faults on a real Debian host: systemd's timers, sudo, and SSH that is let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.chaos import deeds, envelope, faults, means, records
from oakctl.chaos.deeds import Deed
from oakctl.chaos.faults import Fault, Kind
from oakctl.chaos.means import Means
from oakctl.remote import connection
from tests.playbooks.real_host import RealHost, on_a_real_host, real_host
from tests.waiting import until_now

HOUR = 3600.0
UNITS = "systemctl list-units --all --plain --no-legend 'oakctl-chaos-*'"
PICTURE = f"nft list ruleset; tc qdisc show; {UNITS}; ls -A /opt/oakctl"


def means_of(host: RealHost) -> Means:
    with connection.open_fabric(host.target) as remote:
        said = remote.as_login("sh -s n0", stdin=means.QUESTIONS.encode()).stdout
    read = means.parse(said.splitlines(), "n0")
    assert read is not None, said
    return read


def make(host: RealHost, its: Means, fault: Fault, deed: Deed | None = None) -> None:
    key = faults.key(fault, fault.peer)
    found = deed or deeds.deed(fault, key, its, others=("192.0.2.1",))
    host.shell(
        envelope.lasting(
            found, prefix=its.prefix, key=key, token="t1", record=records.record(fault),
            seconds=fault.for_s, timer=its.timer,
        )
    )  # fmt: skip


def heal(host: RealHost) -> list[records.Healed]:
    script = f"set -- n0 {means.OURS}\n{records.BEGIN}{records.HEAL}"
    return records.healed("pi", host.shell(script).splitlines(), "n0")


@pytest.mark.soak
@on_a_real_host
def test_systemd_ends_what_was_broken(tmp_path: Path) -> None:
    with real_host("chaos", tmp_path) as host:
        host.put("/opt/oakctl/manifest.json", "{}")
        its = means_of(host)
        assert (its.timer, its.sudo, its.container, its.loopback) == ("system", True, True, False)
        assert its.uplinks
        before = host.shell(PICTURE)

        # Each call of `shell` is a new connection: our SSH passes.
        make(host, its, faults.fault(Kind.ISOLATE, "pi", for_s=HOUR))
        make(host, its, faults.fault(Kind.SLOW, "pi", bits_per_s=10**6, for_s=HOUR))
        make(host, its, faults.fault(Kind.PARTITION, "pi", peer="other", for_s=HOUR))
        assert host.shell("nft list tables").count(deeds.TABLE) == 3
        assert host.shell(UNITS).count(".timer") == 3
        assert [each.done for each in heal(host)] == [True] * 3
        until_now("all as it was", lambda: host.shell(PICTURE) == before)

        make(host, its, faults.fault(Kind.ISOLATE, "pi", for_s=2))
        until_now("its timer", lambda: host.shell(PICTURE) == before)

        again = Deed("echo >>/run/deeds\n", ":", again=True)
        make(host, its, faults.fault(Kind.KILL_BUS, "edge", for_s=HOUR), again)
        until_now("two deeds", lambda: int(host.shell("wc -l </run/deeds")) >= 2)
        assert len(heal(host)) == 1
        until_now("the end of them", lambda: host.shell(PICTURE) == before)
