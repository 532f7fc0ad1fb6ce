"""Both roles on a real host: made, found made, changed, and refused where they cannot be."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from oakctl.errors import Conflict, OakError
from oakctl.lab import processes
from oakctl.model import subjects
from oakctl.model.config import BUS_PORT, ClusterConfig, WorkerConfig
from oakctl.model.views import StepEvent
from oakctl.model.wire import decode
from oakctl.orchestration import bus
from oakctl.remote import bootstrap, connection, facts, residence
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs
from oakctl.remote.residence import Homeless
from oakctl.remote.step import Cancelled
from tests.playbooks.conftest import ROOT_SECRET, WORKER_SECRET, Host
from tests.remote.servers import Machine, Machines


async def knows_us(access: ClusterAccess, user: str, secret: str, folder: Path) -> bool:
    """Whether the bus lets `user` in, over TLS by the cluster's own authority."""
    (folder / "ca.pem").write_text(access.ca_pem)

    async def silent(error: Exception) -> None:
        return

    try:
        client = await nats.connect(
            f"tls://{access.bus_address}:{access.bus_port}",
            tls=bus.client_context(str(folder / "ca.pem")),
            tls_hostname=access.tls_hostname,
            user=user,
            password=secret,
            allow_reconnect=False,
            error_cb=silent,
        )
    except NatsError as error:
        return "authorization" not in str(error).lower()
    await client.close()
    return True


async def test_a_cluster_and_again(host: Host, tmp_path: Path) -> None:
    access = await host.cluster()
    assert access.bus_address == access.tunnel_host == host.view.address
    assert access.tls_hostname == "edge"
    assert await host.states() == {"bus": "running", "orchestrator": "running"}
    assert await knows_us(access, subjects.USER_ROOT, ROOT_SECRET, tmp_path)
    assert not await knows_us(access, subjects.USER_ROOT, "guessed", tmp_path)
    pids, layout = await host.pids(), host.layout
    config = decode(Path(layout.etc("cluster.json")).read_bytes(), ClusterConfig)
    assert config.location is not None
    assert config.location.latitude == 48.1

    again = await host.cluster()
    assert again == access
    assert host.done() == []
    assert {event.state for event in host.told} == {"skipped"}
    assert await host.pids() == pids

    await a_new_root_secret_comes_into_force(host, tmp_path)
    assert await host.pids() == pids, "and nobody is cut off"
    await workers_in_the_users_file_stay(host)


async def a_new_root_secret_comes_into_force(host: Host, folder: Path) -> None:
    access = await host.cluster(root_secret="another-secret")
    assert host.done() == ["bus: users"]
    deadline = time.monotonic() + 20
    while not await knows_us(access, subjects.USER_ROOT, "another-secret", folder):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def workers_in_the_users_file_stay(host: Host) -> None:
    source = Path(host.layout.bus_users_source)
    users = json.loads(source.read_text())["users"]
    users["w7"] = {"role": "worker", "hash": users["root"]["hash"]}
    source.write_text(json.dumps({"users": users}))
    await host.cluster()
    assert host.done() == ["bus: users"]
    assert set(json.loads(source.read_text())["users"]) >= {"root", "orchestrator", "w7"}
    assert "w7" in Path(host.layout.bus_users).read_text()


def files_are_for_us_alone(host: Host) -> None:
    everything = [host.prefix, *(p for p in host.prefix.rglob("*") if "lib" not in p.parts)]
    open_ones = [p for p in everything if not p.is_symlink() and p.lstat().st_mode & 0o077]
    secrets = [host.prefix / "etc" / name for name in ("worker/secret", "bus/ca.key")]
    assert [p for p in open_ones if "etc" in p.parts or p.is_dir()] == []
    assert [p.stat().st_mode & 0o777 for p in secrets] == [0o600, 0o600]


@pytest.mark.slow
async def test_a_worker_beside_the_orchestrator(host: Host) -> None:
    access = await host.cluster()
    await host.worker(access, labels={"room": "7"})
    assert set(await host.states()) == {"bus", "orchestrator", "agent", "relay"}
    pids = await host.pids()
    config = decode(Path(host.layout.etc("worker.json")).read_bytes(), WorkerConfig)
    assert config.labels == {"room": "7"}
    assert config.contribution.vgpus == 1
    assert "vgpus" in config.declared

    await host.worker(access, labels={"room": "7"})
    assert host.done() == []

    await host.worker(access, labels={"room": "8"})
    assert host.done() == ["worker: configuration", "worker: start the agent"]
    changed = {name for name, pid in (await host.pids()).items() if pid != pids[name]}
    assert changed == {"agent"}


@pytest.mark.slow
async def test_cut_off_within_every_step_it_carries_on(host: Host) -> None:
    """The connection is given up while a step works, however far it came."""
    cut: set[str] = set()

    def begins(event: object) -> bool:
        step, state = event.step, event.state  # type: ignore[attr-defined]
        new = state == "running" and step not in cut
        cut.update({step} if new else ())
        return new

    for _ in range(40):
        try:
            access = await host.cluster(begins)
            break
        except Cancelled:
            continue
    assert "bus: certificate" in cut
    assert host.listens()
    assert await host.cluster() == access
    assert host.done() == []


@pytest.mark.slow
async def test_what_others_on_the_host_see(host: Host) -> None:
    access = await host.cluster()
    heard = list(host.told)
    await host.worker(access)
    heard += host.told
    etc = Path(host.layout.etc("bus"))
    secrets = [ROOT_SECRET, WORKER_SECRET, *(f.read_text() for f in etc.glob("*.secret"))]
    secrets += [line for line in (etc / "ca.key").read_text().splitlines() if "KEY" not in line]
    seen = [repr(event) for event in heard]
    seen += [host.lab.ssh_log.read_text(errors="replace")]  # every command that was run there
    seen += [
        Path(f"/proc/{process.pid}/{file}").read_bytes().decode(errors="replace")
        for process in processes.of_lab(host.lab.id)
        for file in ("cmdline", "environ")
    ]
    seen += [log.read_text(errors="replace") for log in (host.prefix / "log").glob("*.log")]
    seen += [f.read_text() for f in (host.prefix / "etc").rglob("*.json") if "users" not in f.name]
    assert [secret for secret in secrets if any(secret in text for text in seen)] == []
    files_are_for_us_alone(host)


@pytest.mark.slow
async def test_the_port_of_the_bus_is_taken(host: Host) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host.view.address, BUS_PORT))
        other.listen()
        with pytest.raises(Conflict, match=f"{host.view.address}:{BUS_PORT} is in use") as refused:
            await host.cluster()
        assert "h1" in refused.value.message
        assert f"sport = :{BUS_PORT}" in refused.value.hint
        assert await host.states() == {}
    await host.cluster()
    assert host.done()[0] == "bus: nats-server"


async def refused(machine: Machine, words: str) -> None:
    """It is not begun with, and there is nothing to remove."""
    inputs = ClusterInputs("edge", "rom", None, "10.18.0.0/20", ROOT_SECRET)
    told: list[StepEvent] = []
    with pytest.raises(OakError, match=words) as caught:
        await asyncio.to_thread(
            bootstrap.bootstrap_cluster,
            machine.target(accept_new=True),
            inputs,
            told.append,
            threading.Event(),
        )
    assert caught.value.hint
    assert told == []
    await asyncio.to_thread(
        bootstrap.remove, machine.target(), "cluster", told.append, threading.Event()
    )
    assert "failed" not in {event.state for event in told}
    assert list(machine.home.iterdir()) == []


async def test_a_host_without_python_is_left_alone(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "PYTHONS", ("python-of-nowhere",))
    await refused(machines.make(), "no usable Python there")


async def test_a_host_without_a_supervisor_is_left_alone(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Homeless("nothing there keeps our processes running", "use another host")
    monkeypatch.setattr(residence, "choose", lambda facts, **given: nothing)
    await refused(machines.make(), "nothing there keeps our processes running")


async def test_a_damaged_record_is_not_guessed_at(host: Host) -> None:
    def damage() -> None:
        with connection.open_fabric(host.target) as remote:
            remote.put(remote.layout.manifest, b"not ours")

    await asyncio.to_thread(damage)
    with pytest.raises(OakError, match="not ours") as refused:
        await host.cluster()
    assert "by hand" in refused.value.hint
