"""What a node says of its overlay, and what its tries find, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from oakctl.model.config import BusAccess, WorkerConfig
from oakctl.model.documents import ServiceTable, TablesDocument, TableTarget
from oakctl.model.overlay_asking import FAILED, REACHED, UNKNOWN, OverlayLook, Probe
from oakctl.model.service import Port, ServiceAddresses
from oakctl.orchestration.worker import overlay_desk, overlay_probing
from oakctl.orchestration.worker.overlay import driver_for
from oakctl.orchestration.worker.overlay_desk import OverlayDesk
from oakctl.orchestration.worker.overlay_probing import Try
from oakctl.overlay.plan import NodeOverlay, desired_overlay

JOB = "ar.ns.rec.ns"


def config(folder: Path, driver: str, **more: object) -> WorkerConfig:
    access = BusAccess("tls://127.0.0.1:1", "edge", "", "w1", "")
    values: dict[str, object] = {
        "cluster": "edge", "worker": "w1", "prefix": str(folder), "bus": access,
        "overlay_driver": driver, **more,
    }  # fmt: skip
    return WorkerConfig(**values)  # type: ignore[arg-type]


def desk(the: WorkerConfig, *tables: ServiceTable) -> OverlayDesk:
    def plan(document: TablesDocument) -> NodeOverlay:
        return desired_overlay("w1", the.loopback_number, document.tables, cluster="edge")

    return OverlayDesk(the, driver_for(the), lambda: TablesDocument("w1", 1, tables), plan)


def table(*targets: TableTarget, ports: tuple[Port, ...] = (), job: str = JOB) -> ServiceTable:
    return ServiceTable(job, "edge", 1, ServiceAddresses("10.30.9.1"), ports, targets)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A TCP server on 127.0.0.1."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_tcp_and_udp_outcomes(echo: int, closed: int) -> None:
    class Answering(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            assert data == b""
            self.transport.sendto(b"here", address)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    answering, _ = await loop.create_datagram_endpoint(Answering, ("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        ports = {
            ("tcp", echo): REACHED,
            ("tcp", closed): FAILED,
            ("udp", answering.get_extra_info("sockname")[1]): REACHED,
            ("udp", mute.getsockname()[1]): UNKNOWN,
            ("udp", closed): FAILED,
        }
        tries = [Try(kind, "it", "10.18.0.2", "127.0.0.1", port) for kind, port in ports]
        found = await overlay_probing.carry_out(tries)
    answering.close()
    assert [probe.outcome for probe in found] == list(ports.values())
    assert all(probe.round_trip_ms >= 0 for probe in found if probe.outcome == REACHED)
    assert {probe.words for probe in found if probe.outcome == FAILED} == {
        "refused: nothing listens there"
    }
    assert {probe.address for probe in found} == {"10.18.0.2"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ping by itself")
async def test_pings_small_and_large() -> None:
    tries = [Try(kind, "n", "10.18.0.1", "127.0.0.1") for kind in ("ping", "ping large")]
    assert [probe.outcome for probe in await overlay_probing.carry_out(tries)] == [REACHED] * 2
    # Nobody has this address, and no host forwards to it (TEST-NET-1).
    (lost,) = await overlay_probing.carry_out([Try("ping", "n", "x", "192.0.2.99")])
    assert lost.outcome == FAILED
    assert lost.words


async def test_a_loopback_node_tries_each_instance_and_address(tmp_path: Path, echo: int) -> None:
    here = TableTarget(0, "10.18.0.66", "w1", "edge", "", loopback_number=126)
    away = TableTarget(1, "10.18.0.67", "w2", "edge", "", loopback_number=None)
    idle = TableTarget(2, "10.18.0.68", "w1", "edge", "", ready=False, loopback_number=126)
    odd = TableTarget(3, "no address", "w1", "edge", "", loopback_number=126)
    the = desk(
        config(tmp_path, "loopback", loopback_number=126),
        table(here, away, idle, odd, ports=(Port(echo),)),
    )
    looked = await the.answer(OverlayLook())
    assert looked.probes == ()
    assert looked.problems == ("the relay does not run",)
    assert [lead.instances for lead in looked.leads] == [{"10.18.0.66": 0.5, "no address": 0.5}]
    found = await the.answer(OverlayLook(probe=True))
    tried = [(probe.to, probe.address, probe.outcome) for probe in found.probes]
    assert tried == [
        (f"{JOB}.instance.0", "10.18.0.66", FAILED),
        (f"{JOB} rr", "10.30.9.1", FAILED),
    ]


async def test_a_node_without_overlay_tries_hosts_addresses(tmp_path: Path, echo: int) -> None:
    there = TableTarget(0, "10.18.0.66", "w2", "edge", "127.0.0.1")
    the = desk(config(tmp_path, "host"), table(there, ports=(Port(80, echo),)))
    found = await the.answer(OverlayLook(probe=True))
    (only,) = found.probes
    assert (only.address, only.port, only.outcome) == ("127.0.0.1", echo, REACHED)
    assert (found.driver, found.leads, found.measures) == ("host", (), False)


async def test_a_kernel_overlay_without_a_subnet_yet_leads_nowhere(tmp_path: Path) -> None:
    there = TableTarget(0, "10.18.0.66", "w2", "edge", "")
    the = desk(config(tmp_path, "kernel"), table(there, ports=(Port(80),)))
    found = await the.answer(OverlayLook())
    assert (found.driver, found.measures, found.problems) == ("kernel", True, ())
    assert [lead.instances for lead in found.leads] == [{}]
    assert found.reach == ()


async def test_one_test_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tries: object) -> tuple[Probe, ...]:
        begun.set()
        await go_on.wait()
        return ()

    monkeypatch.setattr(overlay_probing, "carry_out", slow)
    the = desk(config(tmp_path, "host"))
    first = asyncio.ensure_future(the.answer(OverlayLook(probe=True)))
    await begun.wait()
    assert "under way" in (await the.answer(OverlayLook(True))).refusal
    go_on.set()
    assert (await first).refusal == ""


async def test_of_too_many_tries_some_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: int
) -> None:
    monkeypatch.setattr(overlay_desk, "MOST_TRIES", 2)
    ports = tuple(Port(closed, protocol=kind) for kind in ("tcp", "udp", "tcp"))
    there = TableTarget(0, "10.18.0.66", "w2", "edge", "127.0.0.1")
    the = desk(config(tmp_path, "host"), table(there, ports=ports))
    found = await the.answer(OverlayLook(probe=True))
    assert (len(found.probes), found.untried) == (2, 1)
