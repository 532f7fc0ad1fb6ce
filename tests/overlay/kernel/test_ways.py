"""What a pair's words, endpoints and peers look like, and the reasons that are told. Pure."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.overlay import DECLARED, LAN, SEEN, Candidate, OverlayNode
from oakctl.model.overlay_report import DIRECT, NONE, RELAYED
from oakctl.overlay.kernel import endpoints, peers, probes, reporting, ways, words
from oakctl.overlay.kernel.liveness import Pulse
from oakctl.overlay.kernel.paths import Pair, Phase, Word
from oakctl.overlay.kernel.peers import Peer, Seen
from oakctl.overlay.kernel.reporting import View
from oakctl.overlay.kernel.ruleset import Networks
from oakctl.overlay.kernel.ways import Way

MINE = "10.18.1.0/26"
NETWORKS = Networks(MINE)


def node(name: str, subnet: str, endpoint: str = "", relay: bool = False, **at: str) -> OverlayNode:
    key = base64.b64encode(name.encode().ljust(32, b".")).decode()
    candidates = tuple(Candidate(kind, where) for kind, where in at.items())
    return OverlayNode(name, "edge", subnet, key, endpoint, relay, candidates)


HUB = node("hub", "10.18.0.0/26", "192.0.2.1:51820", relay=True)
HOME = node("home", "10.18.1.0/26", lan="192.168.1.5:51820", seen="198.51.100.7:51820")
NEAR = node("near", "10.18.1.64/26", lan="192.168.1.6:51820", seen="198.51.100.7:1024")
OFFICE = node("office", "10.18.2.0/26", lan="192.168.1.9:51820", seen="203.0.113.9:51820")
NODES = (HUB, HOME, NEAR, OFFICE)
BASE = peers.planned("home", NETWORKS, NODES)


@given(
    st.builds(
        Word,
        st.sampled_from(Phase),
        st.integers(0, words.MOST),
        st.sampled_from(["", LAN, DECLARED, SEEN]),
        st.booleans(),
        st.booleans(),
    ),
    st.booleans(),
)
def test_a_word_comes_back_out_of_an_echo(word: Word, large: bool) -> None:
    packet = bytes([0x45]) + bytes(19) + probes.echo(7, 9, large, words.encoded(word))
    assert words.decoded(probes.said_in(packet)) == word


@given(st.binary(max_size=40))
def test_what_is_no_word_is_none_and_breaks_nothing(payload: bytes) -> None:
    found = words.decoded(payload)
    assert found is None or words.encoded(found) == payload[: len(words.encoded(found))]
    probes.said_in(payload)


def test_other_peoples_echoes_have_no_word() -> None:
    packet = bytes([0x45]) + bytes(19) + probes.echo(7, 9, False)
    assert words.decoded(probes.said_in(packet)) is None


def test_which_endpoints_are_tried_in_which_order() -> None:
    assert endpoints.kinds(HOME, NEAR) == (LAN, SEEN)
    # Another router: the same local network is another one.
    assert endpoints.kinds(HOME, OFFICE) == (SEEN,)
    assert endpoints.endpoint(HOME, OFFICE, SEEN) == "203.0.113.9:51820"
    public = node("public", "10.18.3.0/26", "192.0.2.9:51820", seen="192.0.2.9:51820")
    # One side is enough, and what was tried is not tried under another name.
    assert endpoints.kinds(node("bare", "10.18.4.0/26"), public) == (DECLARED,)
    assert endpoints.kinds(HOME, public) == (DECLARED, SEEN)
    assert endpoints.endpoint(public, node("bare", "10.18.4.0/26"), DECLARED) == ""
    # Nobody has seen them: local addresses are tried where they look alike.
    assert endpoints.kinds(
        node("x", "10.18.5.0/26", lan="10.0.0.1:1"), node("y", "10.18.6.0/26", lan="10.0.0.2:1")
    ) == (LAN,)
    assert (
        endpoints.kinds(
            node("x", "10.18.5.0/26", lan="10.0.0.1:1"), node("y", "10.18.6.0/26", lan="10.9.0.2:1")
        )
        == ()
    )
    assert endpoints.kinds(HOME, node("z", "10.18.5.0/26", seen="no endpoint")) == (SEEN,)
    assert endpoints.known(HOME, NEAR) == endpoints.known(NEAR, HOME)


def test_a_direct_peer_that_is_tried_has_one_address_and_takes_no_traffic() -> None:
    tried = ways.with_direct(
        MINE, BASE, NODES, {OFFICE.public_key: Way("203.0.113.9:51820", trial=3)}, ()
    )
    direct, relay = tried
    assert (direct.subnets, direct.endpoint) == (("10.18.2.63/32",), "203.0.113.9:51820")
    assert relay == BASE[0]
    # Until the other is ready nothing is sent, which would be in vain.
    waits = ways.with_direct(MINE, BASE, NODES, {OFFICE.public_key: Way(trial=3)}, ())[0]
    assert (waits.endpoint, waits.keepalive_s) == ("", 0)


def test_a_direct_peer_in_force_has_the_subnet_and_the_relay_keeps_a_way_to_ask() -> None:
    given = {OFFICE.public_key: Way("203.0.113.9:51820", in_force=True)}
    direct, relay = ways.with_direct(MINE, BASE, NODES, given, ())
    assert direct.subnets == (OFFICE.subnet,)
    assert "10.18.2.0/32" in relay.subnets
    assert OFFICE.subnet not in relay.subnets
    assert not set(direct.subnets) & set(relay.subnets)
    # Routes are as they were.
    assert peers.routes(NETWORKS, (direct, relay)) == peers.routes(NETWORKS, BASE)
    # Where the tunnel hears it from is newer than what we know.
    seen = [Seen(Peer(OFFICE.public_key, "203.0.113.9:7"), 1)]
    assert ways.with_direct(MINE, BASE, NODES, given, seen)[0].endpoint == ""
    # It is as it shall be then: nothing is said twice.
    again = ways.with_direct(MINE, BASE, NODES, given, [Seen(direct), Seen(relay)])
    said = {relay.public_key: relay.endpoint}
    assert list(peers.difference([Seen(direct), Seen(relay)], again, said)) == []


def test_who_is_always_there_needs_no_direct_way_and_what_is_in_force_is_found() -> None:
    assert {each.worker for each in ways.eligible(MINE, BASE, NODES)} == {"near", "office"}
    assert len(ways.with_direct(MINE, BASE, NODES, {HUB.public_key: Way("192.0.2.1:1")}, ())) == 1
    there = [
        Seen(Peer(NEAR.public_key, "192.168.1.6:51820", (NEAR.subnet,))),
        Seen(Peer(OFFICE.public_key, "203.0.113.9:1", ("10.18.2.63/32",))),  # only tried
        Seen(BASE[0]),
    ]
    assert ways.found(MINE, BASE, NODES, there) == {
        NEAR.public_key: Way("192.168.1.6:51820", in_force=True)
    }


@pytest.mark.parametrize(
    ("pair", "kind", "reason"),
    [
        (Pair(True), RELAYED, "no traffic"),
        (Pair(True, wants=True), RELAYED, "does not answer by the relay"),
        (Pair(True, wants=True, relayed=Pulse(5.0, probes=9, answers=9)), RELAYED, "yet"),
        (Pair(True, Phase.TRYING, kinds=(SEEN,)), RELAYED, "its relay sees"),
        (Pair(True, wants=True, failures=2, tried=(LAN, SEEN)), RELAYED, "local network, the"),
        (Pair(True, wants=True, failures=1, lost_at=3.0), RELAYED, "lost: it went"),
        (Pair(True, Phase.DIRECT, kinds=(LAN,)), DIRECT, "local network"),
        (Pair(True, Phase.DIRECT), DIRECT, "agent started"),
        (None, RELAYED, "relay"),
    ],
)
def test_reasons_are_told_in_words(pair: Pair | None, kind: str, reason: str) -> None:
    pairs = {} if pair is None else {OFFICE.public_key: pair}
    seen = (Seen(BASE[0], 1000),)
    why = {OFFICE.public_key: "it went"}
    told = reporting.paths(View("home", "edge", NODES, BASE, seen, pairs, why))
    path = next(each for each in told if each.worker == "office")
    assert path.kind == kind
    assert reason in path.reason
    assert (path.relay == "hub") == (kind == RELAYED)


def test_a_tunnel_without_an_answer_leads_nowhere() -> None:
    told = reporting.paths(View("home", "edge", NODES, BASE, (Seen(BASE[0], 0),)))
    assert {(each.worker, each.kind) for each in told} == {
        (each, NONE) for each in ("hub", "near", "office")
    }
    assert "no answer yet" in told[0].reason
    lonely = (HOME, OFFICE)
    told = reporting.paths(View("home", "edge", lonely, peers.planned("home", NETWORKS, lonely)))
    assert (told[0].kind, "no relay" in told[0].reason) == (NONE, True)


def test_who_passes_on_for_others_is_led_to_by_relays_alone() -> None:
    cloud = replace(node("r", "10.18.16.0/26", "192.0.2.7:1", relay=True), cluster="cloud")
    behind = replace(node("b", "10.18.16.64/26"), cluster="cloud")
    alone, both = (*NODES, cloud), (*NODES, cloud, behind)

    def led(name: str, subnet: str, nodes: tuple[OverlayNode, ...]) -> set[str]:
        base = peers.planned(name, Networks(subnet), nodes)
        return {each.worker for each in ways.eligible(subnet, base, nodes)}

    assert led("home", MINE, alone) == {"near", "office", "r"}
    assert led("home", MINE, both) == {"near", "office", "b"}
    assert led("r", "10.18.16.0/26", alone) == {"home", "near", "office"}
    assert led("r", "10.18.16.0/26", both) == set()
    assert led("hub", "10.18.0.0/26", both) == set()


def test_a_worker_of_the_same_name_elsewhere_is_another_one() -> None:
    other = replace(node("office", "10.18.16.0/26", "192.0.2.7:1", relay=True), cluster="cloud")
    twin = replace(other, worker="home", public_key=node("x", "10.18.16.0/26").public_key)
    nodes = (twin, *NODES)
    assert peers.planned("home", NETWORKS, nodes)[0].public_key == HUB.public_key
