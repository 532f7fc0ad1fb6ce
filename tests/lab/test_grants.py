"""Two operators and one cluster, on real hosts: what the guest may do there, and what he never can.

The cluster is the owner's; `rob` is let in with one namespace, one registry and half of the cores.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from oakctl.model import subjects, wire
from oakctl.model.config import BusAccess
from oakctl.model.messages import ClusterState
from oakctl.model.roots import AccessFile, granted_user
from oakctl.orchestration import bus
from oakctl.remote import gate
from tests.lab.fleet_hosts import FleetHosts, Host
from tests.lab.operator_tool import Operator
from tests.lab.requirements import MARKS
from tests.waiting import until_now

pytestmark = [*MARKS]

DEADLINE_S = 120
DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: shop
    application_namespace: NAMESPACE
    microservices:
      - microservice_name: web
        microservice_namespace: NAMESPACE
        virtualization: process
        code: ./plain
        memory: 16
        oakctl: {vcpus: VCPUS}
"""
ARTIFACT = 'command = ["/bin/sh", "{artifact}/run.sh"]\n'


def write_app(folder: Path, namespace: str, vcpus: float) -> Path:
    plain = folder / "plain"
    plain.mkdir(parents=True, exist_ok=True)
    (plain / "oakctl-artifact.toml").write_text(ARTIFACT)
    (plain / "run.sh").write_text("echo here; exec sleep 1000000\n")
    text = DESCRIPTOR.replace("NAMESPACE", namespace).replace("VCPUS", str(vcpus))
    file = folder / f"{namespace}-{vcpus}.yaml"
    file.write_text(text)
    return file


def refused(operator: Operator, file: Path, namespace: str, rule: str) -> None:
    """Its descriptor gets nowhere, and `explain` names the rule; it is taken back."""
    operator.run("app", "apply", "-f", str(file), "--no-wait")
    service = f"shop.{namespace}.web.{namespace}"
    until_now(
        f"{rule!r} to be said",
        lambda: operator.run("explain", service).stdout,
        lambda said: rule in said,
        wait_s=DEADLINE_S,
    )
    operator.run("app", "delete", f"shop.{namespace}", "--yes")


def handed(owner: Operator, rob: Operator, *rules: str) -> AccessFile:
    """The owner lets rob in, and rob takes the file that he is handed."""
    file = rob.home / "edge.json"
    bounds = ("--namespace", "prod", "--cpu-share", "0.5", *rules)
    owner.run("cluster", "grant", "edge", "rob", *bounds, "-o", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    rob.run("cluster", "join", str(file))
    return wire.decode(file.read_bytes(), AccessFile)


@pytest.mark.usefixtures("lab_directories")
def test_a_guest_deploys_within_bounds_and_nothing_else(
    hosts: FleetHosts, new_operator: Any, tmp_path: Path
) -> None:
    machines = hosts.bare("orch", "w-trixie")
    owner, rob = new_operator(), new_operator()
    for person in (owner, rob):
        person.start("serve", "--keep")  # else one would start and end with nearly each command
    for host in machines.values():
        owner.knows(host)
    owner.run("cluster", "create", "edge", "--on", "orch", "--accept-new")
    owner.run("worker", "add", "w1", "--cluster", "edge", "--on", "w-trixie", "--accept-new")
    before = machines["orch"].run("cat ~/.ssh/authorized_keys").stdout

    small = write_app(tmp_path, "prod", 0.25)
    handed(owner, rob, "--image", "registry.example/rob")
    refused(rob, small, "prod", "is not among rob's: registry.example/rob")
    given = handed(owner, rob, "--image", "registry.example/rob", "--image", "artifact:*")
    cores = rob.json("cluster", "show", "edge")["aggregate"]["capacity"]["vcpus"]
    rob.run("app", "apply", "-f", str(small), "--timeout", f"{DEADLINE_S}s")
    refused(
        rob, write_app(tmp_path, "test", 0.25), "test",
        "admission: namespace 'test' is not among rob's: prod",
    )  # fmt: skip
    rob.run("app", "delete", "shop.prod", "--yes")
    refused(rob, write_app(tmp_path, "prod", cores / 2 + 0.25), "prod", "(cpu_share 0.5)")
    rob.run("app", "apply", "-f", str(small), "--timeout", f"{DEADLINE_S}s")
    logs = rob.run("instance", "logs", "shop.prod.web.prod.instance.0").stdout
    assert logs == "here\n"
    (seen,) = owner.json("cluster", "grants", "edge")
    assert (seen["name"], seen["instances"]) == ("rob", 1)
    assert owner.json("instance", "ls") == []
    assert rob.run("worker", "add", "w2", "--cluster", "edge", "--on", "edge-gate",
                   check=False).returncode == 6  # fmt: skip

    asyncio.run(opens_nothing(given, rob.home))
    asyncio.run(loses_access(given, owner, tmp_path))
    assert rob.run("cluster", "show", "edge").stdout.count("unreachable")
    assert owner.json("cluster", "grants", "edge") == []
    assert not list_of_instances(machines["w-trixie"])
    assert machines["orch"].run("cat ~/.ssh/authorized_keys").stdout == before
    rob.run("cluster", "remove", "edge", "--force", "--yes")
    owner.run("worker", "remove", "edge/w1", "--yes")
    owner.run("cluster", "remove", "edge", "--yes")
    assert machines["orch"].run("ls -A /opt", root=True).stdout == ""


def list_of_instances(host: Host) -> str:
    return host.run("ls /opt/oakctl/instances", root=True, check=False).stdout


def connecting(given: AccessFile) -> Any:
    """As rob himself would, without oakctl."""
    host_key = asyncssh.import_public_key(given.host_keys[0])
    return asyncssh.connect(
        given.address, given.port, username=given.user, config=None, agent_path=None,
        client_keys=[asyncssh.import_private_key(given.private_key)],
        known_hosts=([host_key], [], []), login_timeout=60,
    )  # fmt: skip


async def opens_nothing(given: AccessFile, home: Path) -> None:
    """No command, no terminal, no files, no way to any port or socket, none back."""
    async with connecting(given) as there:
        for asked in ({}, {"command": "id"}, {"command": "id", "term_type": "xterm"},
                      {"command": f"{gate.ASKED_FOR} ; id"}, {"term_type": "xterm"}):  # fmt: skip
            try:
                done = await asyncio.wait_for(there.run(**asked, input="id\n"), 60)
            except asyncssh.ChannelOpenError:
                continue  # no terminal is given
            assert done.exit_status != 0, asked
            assert "uid=" not in f"{done.stdout}{done.stderr}", asked
        with pytest.raises((asyncssh.SFTPError, asyncssh.Error)):
            await there.start_sftp_client()
        for port in (given.port, 4222):
            with pytest.raises(asyncssh.ChannelOpenError):
                await there.open_connection("127.0.0.1", port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await there.open_unix_connection("/run/systemd/journal/stdout")
        with pytest.raises(asyncssh.ChannelListenError):
            await there.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 1)
        with pytest.raises(asyncssh.ChannelListenError):
            await there.forward_remote_path("/tmp/oakctl-test", "/x")
    # The system's ssh, as one would type it.
    key = home / "key"
    key.write_text(given.private_key)
    key.chmod(0o600)
    typed = subprocess.run(
        ["ssh", "-F", "none", "-i", str(key), "-p", str(given.port), "-o", "BatchMode=yes",
         "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         f"{given.user}@{given.address}", "id"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert typed.returncode != 0
    assert "uid=" not in typed.stdout
    assert "nothing else" in typed.stdout + typed.stderr


async def loses_access(given: AccessFile, owner: Operator, folder: Path) -> None:
    """What he has open ends when he is revoked, and nothing can be opened any more."""
    async with connecting(given) as there:
        writer, reader, _ = await there.open_session(gate.ASKED_FOR, encoding=None)
        assert (await asyncio.wait_for(reader.read(4), 60)) == b"INFO"
        access = await bus_access(given, there, folder)
        cut = asyncio.Event()

        async def on_refused(_: str) -> None:
            cut.set()  # the bus says why before it hangs up

        client = await asyncio.wait_for(
            bus.connect(access, name="rob", on_refused=on_refused, wait_s=60), 60
        )
        subject = subjects.of_root("rob", subjects.CTL_STATE)
        state = await bus.ask(client, subject, b"", ClusterState, timeout_s=30)
        assert len(state.instances) == 1
        began = time.monotonic()
        revoking = asyncio.create_task(
            asyncio.to_thread(owner.run, "cluster", "revoke", "edge", "rob", "--yes")
        )
        await asyncio.wait_for(cut.wait(), DEADLINE_S)
        took = time.monotonic() - began
        print(f"the bus hung up {took:.2f} s after `cluster revoke` was typed")  # noqa: T201
        await revoking
        # A connection of his may stand as long as nothing runs in it: it leads nowhere any more.
        try:
            again = await asyncio.wait_for(there.run(gate.ASKED_FOR, input=""), 60)
        except (asyncssh.Error, OSError) as error:
            print(f"his SSH connection was ended: {error}")  # noqa: T201
        else:
            assert again.exit_status == 1
            assert "was revoked" in str(again.stderr)
        await asyncio.wait({asyncio.create_task(client.close())}, timeout=5)
        writer.close()
    with pytest.raises(asyncssh.PermissionDenied):
        await connecting(given)


async def bus_access(
    given: AccessFile, there: asyncssh.SSHClientConnection, folder: Path
) -> BusAccess:
    """The bus, by sessions of this connection."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer, far_reader, _ = await there.open_session(gate.ASKED_FOR, encoding=None)

        async def copy(source: Any, sink: Any) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
            finally:  # also where the SSH connection is what ended
                sink.close()

        await asyncio.gather(
            copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True
        )

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    (folder / "ca.pem").write_text(given.ca_pem)
    (folder / "secret").write_text(given.secret)
    return BusAccess(
        url=f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        tls_hostname=given.tls_hostname,
        ca_file=str(folder / "ca.pem"),
        user=granted_user(given.name),
        secret_file=str(folder / "secret"),
    )
