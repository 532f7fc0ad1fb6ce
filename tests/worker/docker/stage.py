"""Containers as tests want them: services that run the one image, and what became of them.

Belongs here: what several modules of this folder need. Does not belong here: engines
(`docker_engine`), or assertions on behaviour.
"""

from __future__ import annotations

from typing import Any

from oakctl.model.instance import InstanceState
from oakctl.model.service import ServiceSpec
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.stage import AgentProcess, Orchestrator, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"


FOREVER = ("/bin/sh", "-c", "echo up; trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done")


def container(*cmd: str, **changes: object) -> ServiceSpec:
    changes.setdefault("pull", "never")
    return spec(IMAGE, virtualization="container", cmd=cmd or FOREVER, **changes)


def shell(text: str, **changes: object) -> ServiceSpec:
    return container("/bin/sh", "-c", text, **changes)


def inspect(docker_engine: DockerEngine, name: str = NAME) -> dict[str, Any]:
    client = docker_engine.client
    (one,) = client.containers(all=True, filters={"label": f"oakctl.instance={name}"})
    found: dict[str, Any] = client.inspect_container(one["Id"])
    return found


async def running(agent: AgentProcess, orchestrator: Orchestrator, service: ServiceSpec) -> int:
    agent.start()
    await orchestrator.want(desired(service))
    return (await orchestrator.reaches(NAME, InstanceState.RUNNING)).pid


async def log_until(orchestrator: Orchestrator, last: str, name: str = NAME) -> list[str]:
    text, offset = "", 0
    while f"{last}\n" not in text:
        answer = await orchestrator.logs(name, offset, wait_s=5)
        assert not answer.error
        assert not answer.ended, text
        text, offset = text + answer.data, answer.next_offset
    return text.splitlines()


async def reason_is(orchestrator: Orchestrator, part: str) -> None:
    """Wait until the instance's reason has this in it."""

    def told() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and part in seen.reason

    await until(told, f"the reason to have {part!r} in it")
