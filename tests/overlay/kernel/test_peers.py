"""Who one node's tunnel goes to."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.overlay import OverlayNode
from oakctl.overlay.kernel import peers
from oakctl.overlay.kernel.peers import Peer, Seen
from oakctl.overlay.kernel.ruleset import Networks

NETWORKS = Networks("10.18.0.0/26")


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def node(
    number: int, cluster: str = "edge", endpoint: str = "", relay: bool = False
) -> OverlayNode:
    subnet = f"10.18.{number}.0/26"
    return OverlayNode(f"w{number}", cluster, subnet, key(number), endpoint, relay)


RELAY = node(1, endpoint="192.0.2.1:51820", relay=True)
OTHER_RELAY = node(9, "cloud", "192.0.2.9:51820", relay=True)
NODES = st.lists(
    st.builds(
        node,
        st.integers(0, 9),
        st.sampled_from(["edge", "cloud"]),
        st.sampled_from(["", "192.0.2.7:51820"]),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: each.worker,
)


@given(NODES)
def test_no_subnet_is_behind_two_peers_and_none_is_ones_own(nodes: list[OverlayNode]) -> None:
    for me in nodes:
        found = peers.planned(me.worker, NETWORKS, nodes)
        behind = [subnet for peer in found for subnet in peer.subnets]
        assert len(behind) == len(set(behind))
        assert me.subnet not in behind
        assert me.public_key not in {peer.public_key for peer in found}


@given(NODES)
def test_with_a_relay_in_each_cluster_everybody_is_behind_somebody(
    nodes: list[OverlayNode],
) -> None:
    numbers = {each.worker for each in nodes} - {"w1", "w9"}
    plain = [
        node(int(name[1:]), "edge" if int(name[1:]) % 2 else "cloud") for name in sorted(numbers)
    ]
    everyone = [*plain, RELAY, OTHER_RELAY]
    for me in everyone:
        behind = {s for peer in peers.planned(me.worker, NETWORKS, everyone) for s in peer.subnets}
        assert behind == {each.subnet for each in everyone} - {me.subnet}


@given(NODES, NODES)
def test_the_commands_make_what_is_wanted_and_then_there_are_none(
    before: list[OverlayNode], after: list[OverlayNode]
) -> None:
    there = {peer.public_key: peer for peer in peers.planned("w1", NETWORKS, [RELAY, *before])}
    said = {name: peer.endpoint for name, peer in there.items()}
    wanted = peers.planned("w1", NETWORKS, [RELAY, *after])
    for command in list(peers.difference([Seen(p) for p in there.values()], wanted, said)):
        name, words = command[4], command[5:]
        if words == ("remove",):
            del there[name]
            continue
        given_ = dict(zip(words[::2], words[1::2], strict=True))
        old = there.get(name, Peer(name))
        allowed = given_.get("allowed-ips", ",".join(old.subnets))
        there[name] = Peer(
            name,
            given_.get("endpoint", old.endpoint),
            tuple(allowed.split(",")) if allowed else (),
            int(given_.get("persistent-keepalive", old.keepalive_s)),
        )
    assert {(p.public_key, p.subnets, p.keepalive_s) for p in there.values()} == {
        (p.public_key, p.subnets, p.keepalive_s) for p in wanted
    }
    said = {peer.public_key: peer.endpoint for peer in wanted}
    assert not list(peers.difference([Seen(p) for p in there.values()], wanted, said))


def test_a_learned_endpoint_is_not_overwritten() -> None:
    wanted = peers.planned("w2", NETWORKS, [RELAY, node(2)])
    roamed = Seen(Peer(RELAY.public_key, "198.51.100.5:6000", wanted[0].subnets, 15))
    said = {RELAY.public_key: RELAY.endpoint}
    assert not list(peers.difference([roamed], wanted, said))
    assert list(peers.difference([roamed], wanted, {}))  # a new agent says it once


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": "x"},
        {"public_key": key(1)[:-4]},
        {"subnet": "192.0.2.0/26"},
        {"subnet": "10.18.5.0/26 via x"},
        {"endpoint": "host:1"},
        {"endpoint": "192.0.2.1:70000"},
        {"endpoint": "192.0.2.1:1 \n remove"},
        {"relay": True},
    ],
)
def test_what_is_not_sound_gets_into_no_command(changes: dict[str, object]) -> None:
    fields = {**vars(node(5, endpoint="192.0.2.5:51820")), "endpoint": "", **changes}
    odd = OverlayNode(**fields)  # type: ignore[arg-type]
    me = node(2, endpoint="192.0.2.2:51820")
    assert peers.planned("w2", NETWORKS, [me, odd]) == ()


def test_the_dump_is_read() -> None:
    text = (
        "private\tpublic\t51820\toff\n"
        f"{key(1)}\t(none)\t192.0.2.1:51820\t10.18.1.0/26,10.18.0.64/26\t1700000000\t1\t2\t15\n"
        f"{key(2)}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
    )
    assert peers.dump(text) == [
        Seen(Peer(key(1), "192.0.2.1:51820", ("10.18.0.64/26", "10.18.1.0/26"), 15), 1700000000),
        Seen(Peer(key(2)), 0),
    ]


def test_routes_follow_the_peers() -> None:
    wanted = [Peer(key(1), subnets=("10.18.1.0/26", "10.18.2.0/26"))]
    assert len(peers.routes(NETWORKS, wanted)) == 2
    listed = "10.18.2.0/26 scope link src 10.18.0.1 \n10.18.3.0/26 scope link src 10.18.0.1 \n"
    assert peers.gone_routes(listed, wanted) == ["route delete 10.18.3.0/26 dev oakwg0"]
