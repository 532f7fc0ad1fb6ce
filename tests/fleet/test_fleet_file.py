"""fleet.yaml: every fault with its path, and what is written is read as the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import UsageError
from oakctl.fleet import reading, writing
from oakctl.fleet.state import Seen, Wanted
from oakctl.model.resources import Location, Resources
from oakctl.model.views import ClusterView, HostView, WorkerView
from tests.fleet.fleets import fleets

GOOD = """
hosts:
- {name: pi-1, address: 192.0.2.1, user: pi, identity_file: keys/pi, jump: ["me@gate:2222"]}
- {name: pi-2, address: "2001:db8::2", port: 2222}
clusters:
- name: edge
  orchestrator: pi-1
  policy: spread
  location: 48.26,11.67
  workers:
  - name: w1
    host: pi-2
    contribution: {vcpus: 1.5, memory_mb: 512, vgpus: 1}
    declared: [vgpus]
    labels: {room: hall, floor: 3}
"""


def details(text: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as refused:
        reading.parse(text, Path("/etc"))
    return refused.value.details


def test_everything_arrives() -> None:
    wanted = reading.parse(GOOD, Path("/srv/site"))
    assert wanted.hosts[0].identity_file == "/srv/site/keys/pi"
    assert wanted.hosts[0].jump == ("me@gate:2222",)
    assert (wanted.hosts[1].address, wanted.hosts[1].port) == ("2001:db8::2", 2222)
    (cluster,), (worker,) = wanted.clusters, wanted.workers
    assert (cluster.host, cluster.policy) == ("pi-1", "spread")
    assert cluster.location == Location(48.26, 11.67)
    assert worker.contribution == Resources(vcpus=1.5, memory_mb=512, vgpus=1)
    assert (worker.declared, worker.labels) == (("vgpus",), {"room": "hall", "floor": "3"})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("vcpus", "vcpu", "clusters[0].workers[0].contribution.vcpu: is not a known key "
                          "(did you mean `vcpus`?)"),
        ("address: 192.0.2.1", "adress: 192.0.2.1",
         "hosts[0].adress: is not a known key (did you mean `address`?)"),
        ("address: 192.0.2.1, ", "", "hosts[0].address: is missing"),
        ("port: 2222}", "port: 70000}", "hosts[1].port: 70000 is not ≤ 65535"),
        ("host: pi-2", "host: pi2", "clusters[0].workers[0].host: 'pi2' is not among the hosts "
                                    "(did you mean `pi-2`?)"),
        ("policy: spread", "policy: best",
         "clusters[0].policy: 'best' is not a policy: known are rom, spread"),
        ("name: w1", "name: root", "clusters[0].workers[0].name: 'root' cannot name a worker"),
        ("name: w1", "name: W_1", "clusters[0].workers[0].name: 'W_1' is not a name"),
        ("name: pi-2", "name: pi-1", "hosts[1].name: 'pi-1' is given at hosts[0].name already"),
        ("48.26,11.67", "north", "clusters[0].location: 'north' is not LATITUDE,LONGITUDE"),
        ("48.26,11.67", "98,11", "clusters[0].location.latitude: 98.0 is not ≤ 90"),
        ("vcpus: 1.5", "vcpus: -1", "clusters[0].workers[0].contribution.vcpus: -1 is not ≥ 0"),
        ("  policy: spread", "  policy: spread\n  policy: rom",
         "clusters[0].policy: is given twice"),
    ],
)  # fmt: skip
def test_faults_have_their_path(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = details(GOOD.replace(old, new))
    assert any(line.startswith(expected) for line in found), found


def test_all_faults_at_once() -> None:
    text = GOOD.replace("address: 192.0.2.1", "adress: x").replace("vgpus: 1", "vgpu: 1")
    assert len(details(text)) == 3  # two keys, and the address that is missing


@pytest.mark.parametrize("text", ["", "hosts: [", "[]", "3", "hosts: {a: b}"])
def test_what_is_no_fleet_is_refused(text: str) -> None:
    assert details(text)


@given(fleets())
def test_what_is_written_is_read_as_the_same(wanted: Wanted) -> None:
    seen = Seen(
        wanted.hosts,
        tuple(ClusterView(c.name, "ready", "", c.host, c.policy, c.location, 0, 0, 0, 0.0)
              for c in wanted.clusters),
        tuple(WorkerView(w.name, w.cluster, w.host, "ready", 0, asked=w) for w in wanted.workers),
    )  # fmt: skip
    again = reading.parse(writing.text(seen), Path("/"))
    assert again.hosts == wanted.hosts
    if wanted.hosts and not wanted.clusters:
        assert [cluster.name for cluster in again.clusters] == ["edge"]  # as proposed
        return
    assert again.clusters == wanted.clusters
    assert {(w.cluster, w.name): w for w in again.workers} == {
        (w.cluster, w.name): w for w in wanted.workers
    }


@given(
    st.lists(
        st.builds(
            HostView,
            st.sampled_from(("on", "h1", "pi-1", "0x1", "7")),
            st.sampled_from(("10.0.0.7", "2001:db8::1", "on", "h")),
            st.integers(1, 65535),
            st.sampled_from(("", "pi", "no", "0x1")),
        ),
        min_size=1,
        max_size=4,
        unique_by=(lambda host: host.name, lambda host: (host.address, host.port)),
    )
)
def test_a_file_to_begin_with_is_one(hosts: list[HostView]) -> None:
    found = reading.parse(writing.text(Seen(tuple(hosts))), Path("/etc"))
    assert list(found.hosts) == hosts
    assert found.clusters[0].host == hosts[0].name
    assert {worker.host for worker in found.workers} == {h.name for h in hosts[1:] or hosts}
