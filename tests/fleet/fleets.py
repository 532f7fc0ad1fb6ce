"""Fleets for property tests, and the two halves of a call."""

from __future__ import annotations

from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.fleet import looking, planner
from oakctl.fleet.applier import Applier, Outcome
from oakctl.fleet.plan import Change, Plan
from oakctl.fleet.state import Wanted
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.resources import Location, Resources
from oakctl.model.views import HostView, StepEvent

HOSTS = tuple(HostView(f"h{i}", f"10.0.0.{i}", user="pi") for i in range(6))
LOCATIONS = st.one_of(st.none(), st.just(Location(48.0, 11.5)))


class Silent:
    """Nobody is told."""

    def begun(self, change: Change) -> None: ...

    def step(self, change: Change, step: StepEvent) -> None: ...

    def ended(self, change: Change, error: OakError | None) -> None: ...


@st.composite
def fleets(draw: st.DrawFn) -> Wanted:
    """Any fleet: its clusters always have the same orchestrators, which do not move."""
    names = sorted(draw(st.sets(st.sampled_from(("a", "b")))))
    clusters = tuple(
        ClusterCreate(name, HOSTS["ab".index(name)].name, draw(st.sampled_from(("rom", "spread"))),
                      draw(LOCATIONS))
        for name in names
    )  # fmt: skip
    free = draw(st.permutations(HOSTS[:5])) if names else []
    count = draw(st.integers(0, len(free)))
    labels = st.dictionaries(st.sampled_from(("room", "floor")), st.sampled_from(("1", "2")))
    workers = {
        (cluster, name): WorkerAdd(
            name, cluster, host.name, Resources(vcpus=draw(st.integers(0, 2))),
            labels=draw(labels), location=draw(LOCATIONS),
        )
        for host in free[:count]
        for cluster, name in [(draw(st.sampled_from(names)), draw(st.sampled_from("uvwxyz")))]
    }  # fmt: skip
    used = {c.host for c in clusters} | {w.host for w in workers.values()}
    more = draw(st.sets(st.sampled_from(HOSTS)))
    hosts = tuple(host for host in HOSTS if host.name in used or host in more)
    return Wanted(hosts, clusters, tuple(workers.values()))


async def planned(root: object, wanted: Wanted, *, prune: bool = False) -> Plan:
    """What `fleet plan` finds."""
    seen = await looking.look(root, wanted)  # type: ignore[arg-type]
    return planner.plan(wanted, seen, prune=prune)


async def applied(root: object, wanted: Wanted, plan: Plan) -> Outcome:
    """What `fleet apply` does with it."""
    return await Applier(root, wanted, Silent(), limit=4).run(plan)  # type: ignore[arg-type]
