"""Secrets in containers of a real engine, and logins for registries that want one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.secrets import ENV, REGISTRY, SecretUse, SecretValue, encoded
from oakctl.model.service import RestartPolicy
from oakctl.orchestration.worker import memory
from tests.worker.docker.stage import NAME, inspect, log_until, running, shell
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.login_registry import PASSWORD, USER, LoginRegistry, login_registry
from tests.worker.stage import AgentProcess, Orchestrator, desired, until

pytestmark = [pytest.mark.slow]

S = InstanceState
FILE_VALUE, ENV_VALUE = "planted-for-a-mount-77d1", "planted-for-a-variable-90ce"
USES = (
    SecretUse("db-password", "db-password"),
    SecretUse("cert", "/etc/tls/cert.pem"),
    SecretUse("api", "API_KEY", ENV),
)


def files_with(value: str, *folders: Path) -> list[Path]:
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in found if value.encode() in path.read_bytes()]


async def test_mounted_from_memory_and_gone_with_the_instance(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    orchestrator.secrets = {
        "db-password": FILE_VALUE.encode(),
        "cert": b"pem\n",
        "api": ENV_VALUE.encode(),
    }
    script = (
        (
            "echo length $(cat $OAKCTL_SECRETS/db-password | wc -c) dir $OAKCTL_SECRETS; "
            "cat /etc/tls/cert.pem; ls -ln /run/secrets/db-password; "
            "echo x >/run/secrets/db-password || echo read-only; "
            "echo variable $(echo -n $API_KEY | wc -c); cat /proc/mounts | grep run/secrets; "
            "echo up; while :; do sleep 0.1; done"
        )
        .replace("wc -c", "/bin/busybox wc -c")
        .replace("grep", "/bin/busybox grep")
    )
    await running(agent, orchestrator, shell(script, secrets=USES, read_only=True))
    said = await log_until(orchestrator, "up")
    assert f"length {len(FILE_VALUE)} dir /run/secrets" in said
    assert "pem" in said
    assert "read-only" in said
    assert f"variable {len(ENV_VALUE)}" in said
    assert any(line.startswith("-r--r--r--") for line in said)
    assert any(line.startswith("tmpfs /run/secrets/db-password tmpfs ro") for line in said)

    # `docker inspect` shows where a file is and what a variable says, and that is documented.
    shown = json.dumps(inspect(docker_engine))
    assert FILE_VALUE not in shown
    assert ENV_VALUE in shown
    base = memory.place(str(agent.prefix))
    assert len(files_with(FILE_VALUE, base)) == 1
    assert files_with(FILE_VALUE, agent.prefix, docker_engine.folder / "data/containers") == []
    assert FILE_VALUE not in agent.log + (docker_engine.folder / "log").read_text()
    # Nobody passes into that folder but the agent's own user.
    assert (base / "files" / NAME).stat().st_mode & 0o777 == 0o700

    await orchestrator.want()
    await orchestrator.reaches(NAME, S.UNDEPLOYED)
    await until(lambda: not base.exists(), "its secrets to be taken away")


async def test_the_next_start_has_the_new_value(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    orchestrator.secrets = {"db-password": b"one"}
    quick = RestartPolicy(backoff_s=0.05, backoff_max_s=0.2)
    script = "cat /run/secrets/db-password; echo; while :; do sleep 0.1; done"
    one = shell(script, secrets=USES[:1], restart=quick)
    await running(agent, orchestrator, one)
    await log_until(orchestrator, "one")
    orchestrator.secrets = {"db-password": b"two"}
    docker_engine.client.kill(inspect(docker_engine)["Id"])
    await log_until(orchestrator, "two")
    await orchestrator.want()
    await orchestrator.reaches(NAME, S.UNDEPLOYED)


@pytest.fixture(scope="module")
def registry() -> Iterator[LoginRegistry]:
    with login_registry() as made:
        yield made


def login(registry: LoginRegistry, password: str) -> SecretValue:
    value = encoded(password.encode())
    return SecretValue("hub", 1, value, REGISTRY, registry.address, USER)


async def test_a_private_image_is_pulled_with_the_login_and_not_without(
    agent: AgentProcess,
    orchestrator: Orchestrator,
    docker_engine: DockerEngine,
    registry: LoginRegistry,
) -> None:
    reference = registry.put(docker_engine, IMAGE, "private/web:1")
    agent.start()
    private = replace(shell("echo up; sleep 600"), code=reference, pull="missing")
    await orchestrator.want(desired(private))
    hint = f"oakctl secret set NAME --registry {registry.address} --username USER"
    await until(lambda: hint in str(orchestrator.seen(NAME)), "what to type")

    orchestrator.login = login(registry, "wrong")
    await until(
        lambda: "the login was puller, of secret hub" in str(orchestrator.seen(NAME)),
        "the login to be refused",
    )
    orchestrator.login = login(registry, PASSWORD)
    await orchestrator.reaches(NAME, S.RUNNING)
    for place in (agent.prefix, docker_engine.folder / "data/containers"):
        assert files_with(PASSWORD, place) == []
    assert PASSWORD not in agent.log
    await orchestrator.want()
    await orchestrator.reaches(NAME, S.UNDEPLOYED)
    docker_engine.client.remove_image(reference)


async def test_an_index_without_the_nodes_platform_is_told_as_that(
    agent: AgentProcess,
    orchestrator: Orchestrator,
    docker_engine: DockerEngine,
    registry: LoginRegistry,
) -> None:
    own = registry.put(docker_engine, IMAGE, "mixed/web:own")
    reference = registry.put_index(own, "riscv", "riscv64")
    orchestrator.login = login(registry, PASSWORD)
    agent.start()
    private = replace(shell("echo up; sleep 600"), code=reference, pull="missing")
    await orchestrator.want(desired(private))
    await until(
        lambda: (seen := orchestrator.seen(NAME)) is not None and seen.unfit, "it to be told"
    )
    seen = orchestrator.seen(NAME)
    assert seen is not None
    assert seen.unfit == f"linux/{docker_engine.client.version()['Arch']}"
    assert f"there is none for {seen.unfit}" in seen.reason
