"""Two clusters for tests of the link between them, and the root's part in it, done by hand.

Belongs here: what tests of links share. Does not belong here: a cluster (`rig`).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from oakctl.model import messages as m
from oakctl.model import subjects
from oakctl.model.documents import ServiceTable
from oakctl.model.peers import PeerIntroduction, PeerRemoval, PeerSummary
from oakctl.model.service import ServiceSpec
from tests.bus_fixture import hashed
from tests.cluster.rig import Rig, Worker, running_rig, until

BLOCKS = {"cloud": "10.18.16.0/20", "edge": "10.18.0.0/20"}
NOWHERE = "127.0.0.1:9"  # nobody listens there


@dataclass
class Pair:
    """Cluster `cloud`, which dials when it can (it is the first by name), and `edge`."""

    cloud: Rig
    edge: Rig

    async def introduce(self, *, nowhere: tuple[str, ...] = ()) -> None:
        """As the root does it; those of `nowhere` are told an address that leads nowhere."""
        id = secrets.token_hex(8)
        words = {"cloud": secrets.token_hex(16), "edge": secrets.token_hex(16)}
        for rig, other in ((self.edge, self.cloud), (self.cloud, self.edge)):
            own, name = rig.bus.cluster, other.bus.cluster
            given = PeerIntroduction(
                id=id,
                cluster=name,
                address=NOWHERE if own in nowhere else f"127.0.0.1:{other.bus.port}",
                ca_pem=Path(other.bus.layout.etc("bus/ca.pem")).read_text(),
                block=BLOCKS[name],
                secret=words[own],
                bcrypt_hash=hashed(words[name]),
            )
            answer = await rig.root.ask(subjects.CTL_PEER, given, m.Answer)
            assert answer.ok, answer

    async def part(self, rig: Rig, other: Rig) -> None:
        """As the root does it when `other` is no more."""
        removal = PeerRemoval(other.bus.cluster)
        assert (await rig.root.ask(subjects.CTL_UNPEER, removal, m.Answer)).ok

    async def linked(self, by: str = "cloud") -> None:
        """Wait until both say that `by` has dialled."""
        for rig in (self.edge, self.cloud):
            await until(
                f"{rig.bus.cluster} is linked by {by}",
                lambda rig=rig: [p.dialled_by for p in summaries(rig)] == [by],  # type: ignore[misc]
            )


def summaries(rig: Rig) -> tuple[PeerSummary, ...]:
    """What the orchestrator last said of its links."""
    return (rig.root.state.peers or ()) if rig.root.state else ()


def table_of(worker: Worker, service: ServiceSpec, cluster: str) -> ServiceTable | None:
    """The table of that cluster, as a worker has it."""
    found = worker.tables.tables
    return next((t for t in found if (t.job_name, t.cluster) == (service.job_name, cluster)), None)


def targets(worker: Worker, service: ServiceSpec, cluster: str) -> list[str] | None:
    """The addresses behind a service in a cluster, as a worker has them; None: no table."""
    table = table_of(worker, service, cluster)
    return None if table is None else [target.address for target in table.targets]


@asynccontextmanager
async def running_pair(folder: Path) -> AsyncIterator[Pair]:
    """Both clusters up, each with a root that says nothing by itself; not introduced."""
    async with AsyncExitStack() as stack:
        rigs = {
            name: await stack.enter_async_context(
                running_rig(folder / name, cluster=name, node_subnets=block)
            )
            for name, block in BLOCKS.items()
        }
        yield Pair(**rigs)
