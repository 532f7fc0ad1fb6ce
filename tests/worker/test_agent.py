"""The agent as a whole: real bus, real processes."""

from __future__ import annotations

import os
import signal

from oakctl.model.documents import DesiredDocument
from oakctl.model.instance import InstanceState
from oakctl.model.service import RestartPolicy
from tests.bus_fixture import Bus
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

SLEEPER = "import time\nprint('up', flush=True)\nwhile True: time.sleep(60)\n"
NAME = "app.ns.srv.ns.instance.0"


async def running(agent: AgentProcess, orchestrator: Orchestrator, program: str = SLEEPER) -> int:
    sha, content = artifact(program)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha)))
    return (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid


async def test_starts_what_is_wanted_and_stops_what_is_not(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    pid = await running(agent, orchestrator)
    assert agent.processes(NAME) == [pid]
    assert orchestrator.greetings[0].facts.runtimes == ("process",)
    assert orchestrator.greetings[0].facts.seen_address == "127.0.0.1"
    await until(lambda: orchestrator.heartbeats, "a heartbeat")
    assert orchestrator.heartbeats[-1].usage.agent_rss_mb > 5
    seen = orchestrator.seen(NAME)
    assert seen is not None
    assert seen.ready
    assert seen.bind == f"127.{agent.config.loopback_number + 1}.0.70"

    await orchestrator.want()
    await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    await until(lambda: orchestrator.reports[-1].instances == (), "the end to be confirmed")
    assert agent.processes(NAME) == []
    assert agent.shims() == []
    await until(lambda: not agent.instance(NAME).exists(), "the directory to be removed")


async def test_environment_and_log(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    program = (
        "import os\nfor n in sorted(os.environ): print(n, os.environ[n])\nprint(os.getcwd())\n"
        + SLEEPER
    )
    sha, content = artifact(program)
    orchestrator.artifacts[sha] = content
    agent.start()
    service = spec(sha, environment=("COLOUR=red", "OAKCTL_BIND=forged"))
    wanted = desired(service)
    wanted.reach["OAKCTL_ADDR_REC"] = "10.30.0.9"
    await orchestrator.want(wanted)
    await orchestrator.reaches(NAME, InstanceState.RUNNING)
    text, offset = "", 0
    while "up\n" not in text:
        answer = await orchestrator.logs(NAME, offset, wait_s=5)
        assert not answer.error
        text, offset = text + answer.data, answer.next_offset
    number = agent.config.loopback_number
    assert number is not None
    work = agent.instance(NAME) / "work"
    for line in (
        "COLOUR red",
        f"HOME {work}",
        f"TMPDIR {work}",
        f"OAKCTL_BIND 127.{number + 1}.0.70",
        f"OAKCTL_INSTANCE {NAME}",
        f"OAKCTL_ADDR_REC 127.{number}.0.9",
        str(work),
    ):
        assert line in text.splitlines()
    missing = await orchestrator.logs("app.ns.none.ns.instance.0")
    assert missing.ended
    assert "is not here" in missing.error


async def test_agent_killed_adopts_the_same_processes(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    pid = await running(agent, orchestrator)
    reports = len(orchestrator.reports)
    agent.kill()
    assert agent.processes(NAME) == [pid]
    agent.start()
    await until(lambda: len(orchestrator.reports) > reports, "a report of the new agent")
    seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
    assert (seen.pid, seen.restarts) == (pid, 0)
    assert agent.processes(NAME) == [pid]
    assert len(agent.shims()) == 1


async def test_exit_code_while_the_agent_is_away_is_not_lost(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    program = (
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nraise SystemExit(7)\n"
    )
    sha, content = artifact(program)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, restart=RestartPolicy(when="never"))))
    await orchestrator.reaches(NAME, InstanceState.RUNNING)
    agent.kill()
    (agent.instance(NAME) / "work" / "go").touch()
    await until(lambda: not agent.shims(), "the instance to end")
    agent.start()
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.exit_code == 7
    assert seen.reason == "ended with exit code 7"


async def test_shim_killed_instance_is_kept(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    pid = await running(agent, orchestrator)
    for shim in agent.shims():
        os.kill(shim, signal.SIGKILL)
    agent.kill()
    agent.start()
    reports = len(orchestrator.reports)
    await until(lambda: len(orchestrator.reports) > reports, "a report of the new agent")
    assert (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid == pid
    os.kill(pid, signal.SIGKILL)
    seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
    await until(lambda: (orchestrator.seen(NAME) or seen).restarts == 1, "a restart")


async def test_higher_epoch_replaces(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    first = await running(agent, orchestrator)
    service = orchestrator.desired.instances[0].service
    await orchestrator.want(desired(service, epoch=2))
    seen = await orchestrator.reaches(NAME, InstanceState.RUNNING, epoch=2)
    assert seen.pid != first
    assert agent.processes(NAME) == [seen.pid]


async def test_late_documents_are_ignored(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    pid = await running(agent, orchestrator)
    await orchestrator.push(DesiredDocument("w1", orchestrator.desired.revision - 1, ""))
    await orchestrator.push(DesiredDocument("other", 99, ""))
    service = orchestrator.desired.instances[0].service
    await orchestrator.want(desired(service), desired(service, 1))
    await orchestrator.reaches("app.ns.srv.ns.instance.1", InstanceState.RUNNING)
    seen = orchestrator.seen(NAME)
    assert seen is not None
    assert (seen.pid, seen.state) == (pid, InstanceState.RUNNING)


async def test_failures_back_off_and_loop(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    sha, content = artifact("raise SystemExit(3)\n")
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha)))

    def loops() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.crash_looping

    await until(loops, "a crash loop to be shown")
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.restarts >= 4
    assert seen.reason == "ended with exit code 3"


async def test_one_shot_completes(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    sha, content = artifact("print('done')\n")
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, one_shot=True)))
    seen = await orchestrator.reaches(NAME, InstanceState.COMPLETED)
    assert (seen.exit_code, seen.restarts) == (0, 0)
    assert (await orchestrator.logs(NAME, 0)).data == "done\n"
    await orchestrator.want()
    await until(lambda: orchestrator.reports[-1].instances == (), "it to be forgotten")


async def test_grace_then_the_whole_group_is_killed(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    program = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n  os.setsid()\n  os.fork()\nopen('deaf%d' % os.getpid(), 'w')\n"
        "while True: time.sleep(60)\n"
    )
    sha, content = artifact(program)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha, grace_s=0.3)))
    await orchestrator.reaches(NAME, InstanceState.RUNNING)
    work = agent.instance(NAME) / "work"
    await until(lambda: len(list(work.glob("deaf*"))) == 3, "three processes that ignore SIGTERM")
    await orchestrator.want()
    await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    assert agent.processes(NAME) == []


async def test_report_is_repeated_until_acknowledged(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    orchestrator.acknowledges = False
    sha, content = artifact(SLEEPER)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(desired(spec(sha)))
    await until(lambda: "is not acknowledged" in agent.log, "a report without an answer")
    orchestrator.acknowledges = True
    await orchestrator.reaches(NAME, InstanceState.RUNNING)


async def test_bus_restart(agent: AgentProcess, orchestrator: Orchestrator, bus: Bus) -> None:
    pid = await running(agent, orchestrator)
    greetings = len(orchestrator.greetings)
    bus.kill()
    service = orchestrator.desired.instances[0].service
    bus.start()
    await until(lambda: orchestrator.client.is_connected, "the orchestrator to be back")
    await until(lambda: len(orchestrator.greetings) > greetings, "a greeting after the restart")
    await orchestrator.want(desired(service), desired(service, 1))
    await orchestrator.reaches("app.ns.srv.ns.instance.1", InstanceState.RUNNING)
    assert agent.processes(NAME) == [pid]


async def test_agent_without_bus_keeps_what_it_was_told(
    agent: AgentProcess, orchestrator: Orchestrator, bus: Bus
) -> None:
    pid = await running(agent, orchestrator)
    bus.stop()
    agent.kill()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not agent.shims(), "the instance to end")
    agent.start()
    await until(lambda: len(agent.processes(NAME)) == 1, "the instance to be restarted")
    bus.start()


async def test_revoked_credential_ends_the_agent(
    agent: AgentProcess, orchestrator: Orchestrator, bus: Bus
) -> None:
    from oakctl.orchestration.cluster import bus_server

    pid = await running(agent, orchestrator)
    users = bus_server.read_users(bus.layout)
    del users["w1"]
    bus_server.apply_users(bus.layout, users)
    process = agent.process
    assert process is not None
    await until(lambda: process.poll() is not None, "the agent to end")
    assert process.returncode == 3
    assert "cluster edge refuses worker w1" in agent.log
    assert "it is asked again in" not in agent.log
    assert agent.processes(NAME) == [pid]
    # Whoever starts it again at once does not make it ask again at once.
    agent.start()
    process = agent.process
    assert process is not None
    await until(lambda: process.poll() is not None, "the agent to end again")
    assert process.returncode == 3
    assert "it is asked again in 2 s" in agent.log
    assert agent.processes(NAME) == [pid]


async def test_unaccepted_greeting_ends_the_agent(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    orchestrator.accepted = False
    agent.start()
    process = agent.process
    assert process is not None
    await until(lambda: process.poll() is not None, "the agent to end")
    assert process.returncode == 3
    assert "not enrolled" in agent.log


async def test_sigterm_leaves_instances_and_second_agent_is_refused(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    pid = await running(agent, orchestrator)
    second = AgentProcess(agent.config, agent.prefix)
    second.start()
    assert second.process is not None
    assert second.process.wait(timeout=20) == 6
    assert "another agent runs" in agent.log
    assert agent.stop() == 0
    assert agent.processes(NAME) == [pid]
