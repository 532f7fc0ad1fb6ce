"""The overlay as the root shows it: what clusters told, what follows, and what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oakctl.errors import NotFound, UsageError
from oakctl.model.overlay_asking import FAILED, Lead, OverlayAnswer, OverlayQuestion, Probe, Reach
from oakctl.model.overlay_report import ALONE, DIRECT, NONE, RELAYED, TableInForce
from oakctl.model.overlay_views import OverlayView, TriesView
from oakctl.model.requests import ApplyRequest
from oakctl.orchestration.root import (
    overlay_route,
    overlay_status,
    overlay_tests,
    overlay_trace,
)
from oakctl.orchestration.root.overlay_known import Fleet, Known
from oakctl.overlay import host as no_overlay
from tests.root import overlay_fleet as given
from tests.root.descriptor import application, service
from tests.root.overlay_fleet import NOW, REC
from tests.root.stage import Stage, populate, until, upload

HOSTS = {("edge", "w1"): "pi-1", ("edge", "w2"): "pi-2"}


def view(fleet: Fleet | None = None) -> OverlayView:
    return overlay_status.view(fleet or given.fleet(), HOSTS, NOW)


def told(found: OverlayView) -> dict[str, str]:
    return {each.where: f"{each.words} → {each.hint}" for each in found.troubles}


# --- status --------------------------------------------------------------------------------------


def test_a_sound_fleet_has_pairs_with_ways_and_nothing_wrong() -> None:
    found = view()
    assert told(found) == {}
    assert [(n.cluster, n.name, n.mode, n.late) for n in found.nodes] == [
        ("cloud", "v1", "full", False),
        ("edge", "hub", "full", False),
        ("edge", "w1", "full", False),
        ("edge", "w2", "full", False),
    ]
    # Only pairs that carry traffic: w1 alone talks to Rec.
    assert [(p.a, p.b, p.kind, p.relay, p.round_trip_ms, p.services) for p in found.pairs] == [
        ("edge/w1", "cloud/v1", RELAYED, "hub", 25.0, (REC,)),
        ("edge/w1", "edge/w2", DIRECT, "", 1.5, (REC,)),
    ]
    assert found.pairs[0].reason == "symmetric NAT on both sides"
    assert [(a.policy, a.address, len(a.targets)) for a in found.addresses] == [
        ("rr", given.BALANCED, 3),
        ("closest", given.CLOSEST, 3),
    ]


def test_a_late_table_is_marked_with_what_the_node_has() -> None:
    has = given.report("w1", tables=(TableInForce(REC, "edge", 4),))
    late = given.node("w1", has, has_revision=8)
    found = view(given.fleet(given.edge(late)))
    (node,) = (each for each in found.nodes if each.name == "w1")
    assert node.late
    assert [(t.cluster, t.generation, t.newest, t.late) for t in node.tables] == [
        ("edge", 4, 5, True),
        ("cloud", -1, 7, True),
    ]
    words = told(found)["edge/w1"]
    assert f"{REC} (generation 4 of 5), {REC} (none yet)" in words
    assert "oakctl worker show edge/w1" in words


def test_a_copy_that_lags_behind_its_own_cluster_is_late() -> None:
    newer = replace(given.CLOUD_TABLE, generation=8)
    found = view(given.fleet(the_cloud=given.cloud(tables=(newer,))))
    (node,) = (each for each in found.nodes if each.name == "w1")
    assert [(t.cluster, t.late) for t in node.tables] == [("edge", False), ("cloud", True)]


@pytest.mark.parametrize(
    ("words", "hint", "severity"),
    [
        ("UDP port 51820 is taken: others cannot begin", "oakctl host run pi-1 --sudo", "fault"),
        ("the table oakctl was changed or removed; it was loaded anew", "nft monitor", "note"),
        ("what lets the overlay pass was put back (at 1)", "journalctl", "note"),
        ("forwarding was turned off; it was turned on again (at 1)", "ip_forward", "note"),
        ("the interface oak0 was removed by somebody; it was made anew (at 1)", "now", "note"),
        ("network 10.30.0.0/16 is the overlay's, and 10.30.5.0/24 …", "ip -4 route", "fault"),
        ("the relay does not run", "worker add", "fault"),
        ("service address 10.30.9.1 is taken by a: b cannot have it", "`addresses`", "fault"),
        ("subnet 10.18.0.0/26 is full: 61 instances, no room", "worker cordon edge/w1", "fault"),
        ("something new", "oakctl worker show edge/w1", "fault"),
        ("\x1b[31m[red]{host} {node} {0}", "oakctl worker show edge/w1", "fault"),
    ],
)
def test_each_complaint_of_a_node_comes_with_what_to_do(
    words: str, hint: str, severity: str
) -> None:
    complains = given.node("w1", given.report("w1", problems=(words,)), needs=())
    found = view(given.fleet(given.edge(complains)))
    (trouble,) = found.troubles
    assert (trouble.where, trouble.words, trouble.severity) == ("edge/w1", words, severity)
    assert hint in trouble.hint


def test_faults_that_only_the_fleet_shows() -> None:
    nothing = given.path("w2", "edge", NONE, reason="UDP is blocked")
    lossy = given.path("v1", "cloud", RELAYED, relay="hub", sent=100, lost=40)
    empty = given.table("edge", 5, expected=2)
    nodes = (given.node("w1", given.report("w1", nothing, lossy)), given.w2(status="dead"))
    tables = (given.EDGE_TABLE, given.CLOUD_TABLE)
    words = told(view(given.fleet(given.edge(*nodes, tables=tables))))
    assert words["edge/w1 → edge/w2"] == (
        "nothing gets there: UDP is blocked → oakctl overlay path edge/w1 edge/w2"
    )
    assert "40% of what is sent" in words["edge/w1 → cloud/v1"]
    assert "its agent is dead" in words["edge/w2"]
    alone = given.fleet(given.edge(tables=(empty,)), given.cloud(tables=()))
    assert told(view(alone))[REC] == (
        f"no instance takes calls; 2 shall be there → oakctl explain {REC}"
    )


def test_drivers_without_reports_say_what_they_are() -> None:
    on_loopback = given.node("w1", None, facts=given.facts("loopback"))
    on_host = given.node("w2", None, facts=given.facts("host", "no overlay here"))
    silent = given.node("w3", None, needs=())
    found = view(given.fleet(given.edge(on_loopback, on_host, silent)))
    assert {n.name: (n.mode, n.reason) for n in found.nodes if n.cluster == "edge"} == {
        "w1": ("loopback", ""),
        "w2": ("host", "no overlay here"),
        "w3": ("", ""),
    }
    kinds = {(p.a, p.b): p.kind for p in found.pairs}
    assert kinds["edge/w1", "edge/w2"] == "local"
    assert kinds["edge/w2", "edge/w1"] == "none"
    assert "has not told" in told(found)["edge/w3"]


def test_a_node_without_overlay_that_needs_one_is_told_with_its_reason() -> None:
    overlap = "10.30.0.0/16 is the overlay's, and 10.30.5.0/24 leads to eth1 there"
    for reason, severity in ((overlap, "fault"), ("asked for", "note")):
        its = given.report("w1", mode="host", reason=reason, problems=(no_overlay.REASON,))
        found = view(given.fleet(given.edge(given.node("w1", its, needs=((REC, "edge"),)))))
        (trouble,) = found.troubles
        assert trouble.where == "edge/w1"
        assert trouble.words == f"service addresses lead nowhere there: {reason}"
        assert (trouble.hint, trouble.severity) == ("oakctl host check pi-1", severity)


@pytest.mark.parametrize(("off", "words"), [(90.0, "90 s ahead"), (-90.0, "90 s behind")])
def test_a_clock_that_is_off_is_told(off: float, words: str) -> None:
    its = replace(given.report("w1"), sent_at=NOW + off)
    found = view(given.fleet(given.edge(given.node("w1", its, needs=()))))
    (trouble,) = found.troubles
    assert words in trouble.words
    assert trouble.hint == "oakctl host run pi-1 -- timedatectl"


def test_a_cluster_that_is_away_is_shown_as_it_was() -> None:
    away = Known("edge", NOW - 300, given.edge(), "no tunnel to its host")
    found = view(Fleet({"edge": away, "cloud": Known("cloud", 0.0, None, "not yet")}))
    assert [(c.name, c.heard_at, c.fault) for c in found.clusters] == [
        ("cloud", 0.0, "not yet"),
        ("edge", NOW - 300, "no tunnel to its host"),
    ]
    assert len(found.nodes) == 3
    words = told(found)["edge"]
    assert "does not answer for 5 min, so what is shown of it is old: no tunnel" in words
    assert "its nodes go on by what they were told last → oakctl cluster show edge" in words


def test_an_agent_that_is_silent_is_told_with_since_when_and_the_age_of_its_tables() -> None:
    away = given.w1(status="dead", heartbeat_at=NOW - 12)
    words = told(view(given.fleet(given.edge(given.hub(), away, given.w2()))))["edge/w1"]
    assert words.startswith("its agent is dead: silent for 12 s; its tables are as of 70 s ago")
    assert words.endswith("→ oakctl worker show edge/w1")
    # Its cluster's clock was set back, or its own: no time is less than nothing.
    odd = replace(away, heartbeat_at=NOW + 9, report=given.report("w1", tables_at=0.0))
    words = told(view(given.fleet(given.edge(odd))))["edge/w1"]
    assert words.startswith("its agent is dead: silent for 0 s; it has no tables yet")


def test_a_direct_path_that_died_while_the_agent_of_one_side_is_away_is_told() -> None:
    lost = given.path("w2", "edge", RELAYED, reason="the direct path was lost", relay="hub")
    w1 = given.node("w1", given.report("w1", lost), needs=())
    nodes = given.edge(given.hub(), w1, given.w2(status="dead"))
    words = told(view(given.fleet(nodes)))["edge/w1 → edge/w2"]
    assert "the direct path died while edge/w2's agent is away" in words
    assert words.endswith("oakctl worker show edge/w2")
    # An agent that is there changes its side by itself.
    assert "edge/w1 → edge/w2" not in told(
        view(given.fleet(given.edge(given.hub(), w1, given.w2())))
    )


# --- trace ---------------------------------------------------------------------------------------


def test_a_trace_says_who_is_chosen_why_and_by_which_path() -> None:
    found = overlay_trace.trace(given.fleet(), REC, "w1")
    assert (found.node, found.asked, found.knows, found.troubles) == ("edge/w1", True, True, ())
    assert [(c.target.node, c.verdict, c.round_trip_ms, c.path) for c in found.candidates] == [
        ("cloud/v1", "takes calls", 25.0, "by relay hub"),
        ("edge/w1", "takes calls", 0.0, "local cable"),
        ("edge/w2", "takes calls", 1.5, "direct to 192.0.2.2:51820"),
    ]
    balanced, closest = found.choices
    assert len(balanced.instances) == 3
    assert balanced.why == "new calls go at random to the 3 that take calls"
    assert closest.instances == (f"{REC}.instance.0",)
    assert closest.why == f"on this node; the next is {REC}.instance.1 with 1.5 ms"
    assert closest.path == "local cable"


def test_a_choice_that_is_not_the_nearest_says_why_it_stays() -> None:
    leads = (Lead(given.CLOSEST, "closest", {given.W2: 1.0}),)
    reach = (Reach("10.18.2.1", True, 2.0), Reach("10.18.16.1", True, 1.4))
    seen = given.sight(leads=leads, reach=reach, attached=())
    found = overlay_trace.trace(given.fleet(given.edge(sights=(seen,))), REC, "edge/w1")
    closest = found.choices[1]
    assert closest.instances == (f"{REC}.instance.1",)
    assert "a little nearer (1.4 ms), too little for a change" in closest.why


def test_each_reason_not_to_use_an_instance() -> None:
    target = given.target
    table = given.table(
        "edge", 5,
        target(0, given.W1, "w1", "edge"),
        target(1, given.W2, "w2", "edge"),
        target(3, "10.18.2.3", "w2", "edge", draining=True),
        target(4, "10.18.2.4", "w2", "edge", ready=False),
        target(5, "nonsense", "w9", "edge"),
    )  # fmt: skip
    seen = given.sight(tables=(table,), attached=(), reach=(Reach("10.18.2.1", False),), leads=())
    answer = given.edge(tables=(table, given.CLOUD_TABLE), sights=(seen,))
    found = overlay_trace.trace(given.fleet(answer), REC, "w1")
    assert {c.target.instance.rpartition(".")[2]: c.verdict for c in found.candidates} == {
        "0": "not attached",
        "1": "unreachable",
        "2": "not listed",
        "3": "draining",
        "4": "not ready",
        "5": "takes calls",
    }
    assert any("its table is late" in each.words for each in found.troubles)


def test_nothing_reached_names_the_node_and_the_next_command() -> None:
    table = given.table("edge", 5, given.target(1, given.W2, "w2", "edge"))
    seen = given.sight(tables=(table,), reach=(Reach("10.18.2.1", False),), leads=())
    answer = given.edge(tables=(table,), sights=(seen,))
    found = overlay_trace.trace(given.fleet(answer, given.cloud(tables=())), REC, "w1")
    assert [choice.instances for choice in found.choices] == [(), ()]
    (trouble,) = found.troubles
    assert trouble.words == f"edge/w2 does not answer, and {REC}.instance.1 is there"
    assert trouble.hint == "oakctl overlay path edge/w1 edge/w2"


def test_a_node_that_knows_no_such_service_says_what_is_missing() -> None:
    found = overlay_trace.trace(
        given.fleet(given.edge(sights=(given.sight(tables=()),))), REC, "w1"
    )
    assert not found.knows
    assert "connectivity" in found.troubles[0].hint
    assert {candidate.verdict for candidate in found.candidates} == {"not listed"}


def test_a_node_that_does_not_answer_is_traced_by_its_clusters_word() -> None:
    answer = given.edge(sights=(), silent={"w1": "it is dead"})
    found = overlay_trace.trace(given.fleet(answer), REC, "w1")
    assert (found.asked, found.knows) == (False, True)
    assert "it is dead" in found.troubles[0].words
    balanced, closest = found.choices
    assert len(balanced.instances) == 3
    assert (closest.instances, closest.why) == (
        (),
        "only the node itself knows which, and it did not answer",
    )


def test_a_node_without_overlay_is_told_once() -> None:
    seen = replace(given.sight(leads=(), measures=False), driver="host")
    answer = given.edge(sights=(replace(seen, problems=(no_overlay.REASON,)),))
    found = overlay_trace.trace(given.fleet(answer), REC, "w1", "pi-1")
    assert [each.words for each in found.troubles] == [no_overlay.REASON]
    assert {choice.why for choice in found.choices} == {
        "there is no overlay on this node: the address leads nowhere"
    }


def test_a_hold_is_told() -> None:
    empty = given.table("edge", 5, expected=1)
    leads = (Lead(given.BALANCED, "rr", {}, holds=True), Lead(given.CLOSEST, "closest"))
    seen = given.sight(tables=(empty,), leads=leads)
    answer = given.edge(tables=(empty,), sights=(seen,))
    found = overlay_trace.trace(given.fleet(answer, given.cloud(tables=())), REC, "w1")
    assert "calls wait" in found.choices[0].why
    assert "refused at once" in found.choices[1].why
    assert found.troubles[0].hint == f"oakctl explain {REC}"


# --- path ----------------------------------------------------------------------------------------


def test_a_direct_way_and_a_relayed_one_hop_by_hop() -> None:
    direct = overlay_route.route(given.fleet(), "w1", "w2", HOSTS, NOW)
    assert (direct.kind, direct.troubles) == (DIRECT, ())
    assert [hop.at for hop in direct.hops] == ["edge/w1", "tunnel", "direct", "edge/w2"]
    assert "to 192.0.2.2:51820, last handshake 30 s ago" in direct.hops[1].words
    assert direct.hops[2].round_trip_ms == 1.5
    relayed = overlay_route.route(given.fleet(), "edge/w1", "cloud/v1", HOSTS, NOW)
    assert [hop.at for hop in relayed.hops] == [
        "edge/w1", "tunnel", "relay edge/hub", "relayed", "cloud/v1",
    ]  # fmt: skip
    assert [hop.round_trip_ms for hop in relayed.hops] == [None, None, 10.0, 25.0, None]
    assert relayed.hops[3].words == "symmetric NAT on both sides; 1 of 100 echoes lost"
    back = given.path("w1", "edge", RELAYED, relay="gate", round_trip_ms=26.0)
    v1 = given.node("v1", given.report("v1", back), needs=())
    gate = given.node("gate", None, needs=())
    both = overlay_route.route(given.fleet(the_cloud=given.cloud(v1, gate)), "w1", "v1", HOSTS, NOW)
    assert [hop.at for hop in both.hops][2:4] == ["relay edge/hub", "relay cloud/gate"]


def test_what_is_wrong_with_a_way_is_told() -> None:
    never = given.path("w2", "edge", DIRECT, endpoint="192.0.2.2:51820", sent=9, lost=9)
    nodes = (given.node("w1", given.report("w1", never, mode=ALONE, reason="no tunnel")),)
    other = given.node("w2", given.report("w2", given.path("w1", "edge", RELAYED, relay="hub")))
    found = overlay_route.route(given.fleet(given.edge(*nodes, other)), "w1", "w2", HOSTS, NOW)
    words = {each.words: each.hint for each in found.troubles}
    assert words["no tunnel"] == "oakctl host check pi-1"
    assert "let UDP through" in words["the tunnel to 192.0.2.2:51820 never came about"]
    assert any("there it is direct, and back relayed" in each for each in words)


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("the tunnel to hub (192.0.2.9:51820) has had no answer yet", "let UDP through"),
        ("neither has an address for the other, and there is no relay", "the cluster a relay"),
        ("\x1b[31m", "oakctl overlay status"),
    ],
)
def test_no_way_at_all_says_what_would_make_one(reason: str, what: str) -> None:
    none = given.path("w2", "edge", NONE, reason=reason)
    answer = given.edge(given.node("w1", given.report("w1", none)), given.w2())
    found = overlay_route.route(given.fleet(answer), "w1", "w2", HOSTS, NOW)
    assert found.kind == NONE
    assert what in found.troubles[0].hint


def test_ways_to_itself_to_nobody_and_to_the_unknown() -> None:
    assert overlay_route.route(given.fleet(), "w1", "edge/w1", HOSTS, NOW).hops[1].at == "cable"
    with pytest.raises(NotFound, match="no node 'w9'"):
        overlay_route.route(given.fleet(), "w1", "w9", HOSTS, NOW)
    twice = given.fleet(the_cloud=given.cloud(given.v1(), given.node("w1", None)))
    with pytest.raises(UsageError, match="more than one node w1") as error:
        overlay_route.route(twice, "w1", "w2", HOSTS, NOW)
    assert error.value.hint == "one of cloud/w1, edge/w1"
    unknown = overlay_route.route(given.fleet(), "w2", "cloud/v1", HOSTS, NOW)
    assert unknown.kind == "unknown"
    assert "service in common" in unknown.troubles[0].hint


# --- test ----------------------------------------------------------------------------------------


def test_failed_tries_become_causes() -> None:
    tries = (
        Probe("ping", "edge/w2", "10.18.2.1", outcome=FAILED, words="no answer"),
        Probe("ping large", "edge/w2", "10.18.2.1", outcome=FAILED),
        Probe("ping large", "cloud/v1", "10.18.16.1", outcome=FAILED),
        Probe("tcp", f"{REC}.instance.1", given.W2, 80, FAILED, words="refused: nothing"),
        Probe("tcp", f"{REC} rr", given.BALANCED, 80, FAILED, words="no answer"),
    )
    tests = (
        TriesView("edge/w1", tries, "", "kernel"),
        TriesView("edge/w2", (), "it is dead"),
        TriesView("edge/w3", (), "", "loopback", 7),
    )
    found = [f"{each.where}: {each.words} → {each.hint}" for each in overlay_tests.troubles(tests)]
    assert found[0] == (
        "edge/w1: edge/w2 does not answer a ping → oakctl overlay path edge/w1 edge/w2"
    )
    assert "small packets and no large ones" in found[1]
    assert found[2].endswith(f"oakctl instance logs {REC}.instance.1")
    assert found[3].endswith(f"oakctl overlay trace {REC} --from edge/w1")
    assert "edge/w2: not tried: it is dead" in found[4]
    assert "nothing was tried" in found[5]
    assert "7 more were not tried" in found[6]
    assert len(found) == 7
    assert [test.failed for test in tests] == [True, True, False]


# --- through `/v1` -------------------------------------------------------------------------------


async def test_the_overlay_through_the_api(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 1))))
        job = (await root.service("Rec")).job_name
        table = replace(given.EDGE_TABLE, job_name=job)
        needs = ((job, "edge"),)
        edge.overlay = OverlayAnswer(
            "edge", NOW, (given.w1(needs=needs), given.w2()), (table,),
            (given.sight(tables=(table,)),),
        )  # fmt: skip
        view = await root.overlay.view()
        assert [pair.kind for pair in view.pairs] == [DIRECT]
        trace = await root.overlay.trace("Rec", "edge/w1")
        assert trace.choices[1].instances == (f"{job}.instance.0",)
        assert edge.overlay_asked[-1] == OverlayQuestion(("w1",), False)
        assert (await root.overlay.route("w1", "w2")).kind == DIRECT
        tested = await root.overlay.test(["w1"])
        assert edge.overlay_asked[-1] == OverlayQuestion(("w1",), True)
        assert [one.node for one in tested.nodes] == ["edge/w1"]
        both = await root.overlay.test()
        assert [one.node for one in both.nodes] == ["edge/w1", "edge/w2"]
        assert both.nodes[1].fault == "it was not asked"
        with pytest.raises(NotFound, match="no node"):
            await root.overlay.trace("Rec", "nobody")
        with pytest.raises(NotFound, match="nothing"):
            await root.overlay.trace("nothing", "w1")

        await edge.stop()
        old = await until(
            "the cluster to be away", root.overlay.view, lambda found: found.clusters[0].fault
        )
        assert [node.name for node in old.nodes] == ["w1", "w2"]
        assert old.clusters[0].heard_at > NOW
        silent = await root.overlay.trace("Rec", "edge/w1")
        assert any("does not answer" in each.words for each in silent.troubles)


async def test_a_cluster_that_never_told_of_its_overlay_is_shown_by_its_state(
    stage: Stage,
) -> None:
    edge = await stage.cluster("edge")
    edge.silent.add("ctl.overlay")
    async with stage.root() as root:
        await populate(root, "edge")
        view = await root.overlay.view()
        assert [(node.name, node.mode) for node in view.nodes] == [("w1", "loopback")]
        assert "ctl.overlay" in view.clusters[0].fault
