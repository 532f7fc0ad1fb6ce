"""Instances as users of their own: real processes, started by an agent that is root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.instance import InstanceState
from oakctl.model.service import Port, Probe, RestartPolicy
from oakctl.orchestration.worker import identity
from tests.bus_fixture import Bus
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"
OTHER = "app.ns.srv.ns.instance.1"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process to a user")


@pytest.fixture
def agent(bus: Bus) -> Iterator[AgentProcess]:
    """With a prefix that others can come to, as /opt is."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = AgentProcess.create(bus, folder, overlay_driver="host", address="127.0.0.1")
    (folder / "etc").mkdir(mode=0o700)
    (folder / "etc/secret").write_text("the credential")
    yield made
    made.destroy()
    shutil.rmtree(folder)


def script(orchestrator: Orchestrator, text: str) -> str:
    sha, content = artifact(command=("/bin/sh", "{artifact}/run"), extra={"run": text.encode()})
    orchestrator.artifacts[sha] = content
    return sha


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def log_of(orchestrator: Orchestrator, name: str, last: str) -> list[str]:
    text, offset = "", 0
    while f"{last}\n" not in text:
        answer = await orchestrator.logs(name, offset, wait_s=5)
        assert not answer.error
        text, offset = text + answer.data, answer.next_offset
    return text.splitlines()


@as_root
async def test_two_instances_are_two_users_without_more_rights(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    service = spec(script(orchestrator, "id -u; id -G; exec sleep 600\n"))
    agent.start()
    await orchestrator.want(desired(service, 0), desired(service, 1))
    first = await orchestrator.reaches(NAME, InstanceState.RUNNING)
    second = await orchestrator.reaches(OTHER, InstanceState.RUNNING)
    for seen, number in ((first, 70), (second, 71)):
        user = str(identity.FIRST + number)
        await until(lambda pid=seen.pid: "sleep" in status(pid)["Name"], "the program to run")
        found = status(seen.pid)
        assert found["Uid"].split() == [user] * 4
        assert found["Gid"].split() == [user] * 4
        assert found["Groups"] == ""
        assert found["NoNewPrivs"] == "1"
        assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapAmb"], 16) == 0
        assert (await log_of(orchestrator, seen.name, user))[:2] == [user, user]


@as_root
async def test_reaches_its_own_files_and_no_others(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    prefix, other = agent.prefix, agent.instance(OTHER)
    tries = [
        f"cat {prefix}/etc/secret && echo READ-CREDENTIAL",
        f"ls {prefix} && echo LISTED-PREFIX",
        f"ls {prefix}/artifacts && echo LISTED-ARTIFACTS",
        f"cat {other}/work/private && echo READ-OTHER",
        f"cat {other}/run/1/launch.json && echo READ-ENVIRONMENT",
        f"cat {agent.instance(NAME)}/run/1/launch.json && echo READ-OWN-ORDER",
        f"cat {agent.instance(NAME)}/record.json && echo READ-RECORD",
        f"cat {prefix}/state/agent/desired.json && echo READ-DOCUMENT",
        'echo x > "${0%/*}/spoilt" && echo WROTE-ARTIFACT',
        "echo mine > here && cat here",
        'test "$PWD" = "$HOME" && echo home',
        "echo told >> /dev/stderr",
        "echo end; exec sleep 600",
    ]
    service = spec(script(orchestrator, "\n".join(tries) + "\n"))
    holder = spec(script(orchestrator, "echo s > private; echo end; exec sleep 600"))
    agent.start()
    await orchestrator.want(desired(holder, 1))
    await orchestrator.reaches(OTHER, InstanceState.RUNNING)
    await log_of(orchestrator, OTHER, "end")
    await orchestrator.want(desired(holder, 1), desired(service, 0))
    await orchestrator.reaches(NAME, InstanceState.RUNNING)
    said = await log_of(orchestrator, NAME, "end")
    assert [line for line in said if "ermission denied" not in line] == [
        "mine",
        "home",
        "told",
        "end",
    ]
    assert len(said) == 13


@as_root
async def test_adopted_after_a_kill_of_the_agent_and_exit_code_kept(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha = script(orchestrator, "while [ ! -e go ]; do sleep 0.05; done; exit 7\n")
    agent.start()
    await orchestrator.want(desired(spec(sha, restart=RestartPolicy(when="never"))))
    pid = (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid
    reports = len(orchestrator.reports)
    agent.kill()
    agent.start()
    await until(lambda: len(orchestrator.reports) > reports, "a report of the new agent")
    assert (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid == pid
    agent.kill()
    (agent.instance(NAME) / "work" / "go").touch()
    await until(lambda: not agent.shims(), "the instance to end")
    agent.start()
    assert (await orchestrator.reaches(NAME, InstanceState.FAILED)).exit_code == 7


@as_root
async def test_ports_below_1024_only_where_the_descriptor_names_one(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha = script(orchestrator, "exec sleep 600\n")
    web = spec(sha, ports=(Port(80, 80),))
    plain = spec(sha, name="plain", ports=(Port(8080, 8080),))
    agent.start()
    await orchestrator.want(desired(web, 0), desired(plain, 1))
    seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
    await until(lambda: "sleep" in status(seen.pid)["Name"], "the program to run")
    assert int(status(seen.pid)["CapEff"], 16) == 1 << 10
    other = await orchestrator.reaches("app.ns.plain.ns.instance.1", InstanceState.RUNNING)
    await until(lambda: "sleep" in status(other.pid)["Name"], "the program to run")
    assert int(status(other.pid)["CapEff"], 16) == 0


@as_root
async def test_commands_of_probes_are_the_instance_too(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha = script(orchestrator, "exec sleep 600\n")
    probe = Probe("command", command=("/bin/sh", "-c", "id -u > probed"), interval_s=0.1)
    agent.start()
    await orchestrator.want(desired(spec(sha, ready=probe)))
    await orchestrator.reaches(NAME, InstanceState.RUNNING)

    def ready() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.ready

    await until(ready, "the probe to hold")
    probed = agent.instance(NAME) / "work/probed"
    assert probed.read_text().strip() == str(identity.FIRST + 70)
    assert probed.stat().st_uid == identity.FIRST + 70


@as_root
async def test_a_closed_way_is_a_reason_and_not_a_start_as_root(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    inner = agent.prefix / "closed/host"
    inside = AgentProcess.create_beside(agent, inner)
    agent.prefix.chmod(0o711)
    (agent.prefix / "closed").chmod(0o700)
    sha = script(orchestrator, "exec sleep 600\n")
    inside.start()
    try:
        await orchestrator.want(desired(spec(sha)))
        seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
        assert f"none can pass {agent.prefix}/closed" in seen.reason
        (agent.prefix / "closed").chmod(0o711)
        await orchestrator.reaches(NAME, InstanceState.RUNNING)
    finally:
        inside.destroy()


def test_number_is_that_of_the_address() -> None:
    assert identity.number("10.18.0.70") == 0x7000_0046
    assert identity.number("10.18.255.254") == 0x7000_FFFE
    with pytest.raises(ValueError, match="nonsense"):
        identity.number("nonsense")


@given(st.sets(st.integers(0, 0xFFFF), min_size=2, max_size=20))
def test_numbers_of_one_network_differ_and_stay_in_the_range(hosts: set[int]) -> None:
    numbers = {identity.number(f"10.18.{host >> 8}.{host & 255}") for host in hosts}
    assert len(numbers) == len(hosts)
    assert all(1879048192 <= number <= 1879113727 for number in numbers)


@as_root
def test_handing_over_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("root's")
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder/file").touch()
    (tree / "link").symlink_to(outside)
    identity.hand_over(tree, identity.FIRST)
    assert (tree / "folder/file").stat().st_uid == identity.FIRST
    assert (tree / "link").lstat().st_uid == identity.FIRST
    assert outside.stat().st_uid == 0


@as_root
def test_a_command_as_another_user() -> None:
    words = identity.command(identity.FIRST, ("sh", "-c", "id -u; id -G"))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(identity.FIRST)] * 2
    assert identity.command(None, ("true",)) == ("true",)


def test_an_interpreter_of_ours_is_opened_whole(tmp_path: Path) -> None:
    top = tmp_path / "python"
    (top / "bin").mkdir(parents=True, mode=0o700)
    program, module, link = top / "bin/python3", top / "module.py", top / "link"
    program.touch(mode=0o700)
    module.touch(mode=0o600)
    link.symlink_to("/nowhere")
    top.chmod(0o700)
    identity.open_tree(top)
    modes = [path.stat().st_mode & 0o777 for path in (top, top / "bin", program, module)]
    assert modes == [0o755, 0o755, 0o755, 0o644]
    module.chmod(0o600)
    identity.open_tree(top)
    assert module.stat().st_mode & 0o777 == 0o600, "what is open is not walked again"
