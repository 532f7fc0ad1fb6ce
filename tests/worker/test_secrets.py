"""Secrets on a worker: a real agent and bus, real processes, and where their values are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from oakctl.model import sessions, wire
from oakctl.model.instance import InstanceState
from oakctl.model.messages import SecretsAnswer
from oakctl.model.secrets import ENV, LARGEST_VARIABLE, SecretUse, SecretValue, encoded
from oakctl.model.service import RestartPolicy
from oakctl.model.sessions import Ended, SessionRequest
from oakctl.orchestration.worker import identity, memory
from oakctl.orchestration.worker.clear import clear
from oakctl.orchestration.worker.memory import Memory, NoMemory, file_system
from oakctl.orchestration.worker.secrets import Kept, Secrets, file_of, given
from tests.bus_fixture import Bus
from tests.worker.sessions_by_hand import opened, rest_of
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

S = InstanceState
NAME = "app.ns.srv.ns.instance.0"
OTHER = "app.ns.srv.ns.instance.1"
FILE_VALUE, ENV_VALUE = b"planted-in-a-file-8f1c", "planted-in-a-variable-52ab"
USES = (SecretUse("db-password", "db-password"), SecretUse("api", "API_KEY", ENV))
# Says what it was given, in a way that leaves the values themselves out of its log.
PROGRAM = """
import hashlib, os, pathlib, signal, stat
folder = pathlib.Path(os.environ["OAKCTL_SECRETS"])
for path in sorted(folder.iterdir()):
    found = path.stat()
    mode = oct(stat.S_IMODE(found.st_mode))
    print("file", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), mode,
          found.st_uid == os.getuid())
print("variable", hashlib.sha256(os.environ.get("API_KEY", "").encode()).hexdigest())
print("up", flush=True)
signal.pause()
"""


def place(agent: AgentProcess) -> Path:
    """Where the secrets of the agent's instances are."""
    return memory.place(str(agent.prefix))


def holders(value: bytes, *folders: Path) -> list[Path]:
    """Every file below these that has the value in it."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in files if value in path.read_bytes()]


async def log_of(orchestrator: Orchestrator, last: str = "up\n") -> str:
    text, offset = "", 0
    while last not in text:
        answer = await orchestrator.logs(NAME, offset, wait_s=5)
        assert not answer.error
        text, offset = text + answer.data, answer.next_offset
    return text


def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


async def test_given_at_the_start_and_taken_away_at_the_end(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha, orchestrator.artifacts = _packed(PROGRAM)
    orchestrator.secrets = {"db-password": FILE_VALUE, "api": ENV_VALUE.encode()}
    agent.start()
    await orchestrator.want(desired(spec(sha, secrets=USES)))
    await orchestrator.reaches(NAME, S.RUNNING)
    said = await log_of(orchestrator)
    assert f"file db-password {digest(FILE_VALUE)} 0o400 True" in said
    assert f"variable {digest(ENV_VALUE.encode())}" in said
    base = place(agent)
    assert file_system(base) in memory.IN_MEMORY
    assert stat.S_IMODE((base / "kept").stat().st_mode) == 0o700

    # On the disk there is nothing of it: not in records, orders, logs or the agent's state.
    for value in (FILE_VALUE, ENV_VALUE.encode()):
        assert holders(value, agent.prefix) == []
        assert len(holders(value, base)) == 1
        assert value not in agent.log.encode()
    (pid,) = agent.processes(NAME)
    assert FILE_VALUE not in Path(f"/proc/{pid}/environ").read_bytes()
    assert ENV_VALUE.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()

    # A command beside the instance has what the instance has.
    look = SessionRequest(
        NAME, sessions.EXEC, command=("/bin/sh", "-c", 'echo "$API_KEY"; ls "$OAKCTL_SECRETS"')
    )
    async with opened(orchestrator, look) as session:
        out, _, last = await rest_of(session)
    assert (out.decode().splitlines(), last) == ([ENV_VALUE, "db-password"], Ended(0))
    assert holders(ENV_VALUE.encode(), agent.prefix) == []

    await orchestrator.want()
    await orchestrator.reaches(NAME, S.UNDEPLOYED)
    await until(lambda: not base.exists(), "its secrets to be taken away")


async def test_each_start_asks_anew_and_without_a_cluster_it_has_what_it_had(
    agent: AgentProcess, orchestrator: Orchestrator, bus: Bus
) -> None:
    sha, orchestrator.artifacts = _packed(PROGRAM)
    orchestrator.secrets = {"db-password": b"one", "api": b"x"}
    agent.start()
    await orchestrator.want(desired(spec(sha, secrets=USES)))
    first = (await orchestrator.reaches(NAME, S.RUNNING)).pid
    orchestrator.secrets["db-password"] = b"two"
    os.kill(first, 9)
    await until(lambda: _pid(orchestrator) not in (0, first), "the next start")
    second = _pid(orchestrator)
    assert digest(b"two") in await log_of(orchestrator, digest(b"two"))
    assert orchestrator.secrets_asked == [NAME, NAME]

    bus.stop()
    os.kill(second, 9)
    await until(lambda: set(agent.processes(NAME)) - {second}, "a start without the cluster")
    bus.start()
    await until(lambda: _pid(orchestrator) not in (0, second), "the cluster to hear of it")
    assert (place(agent) / "files" / NAME / "db-password").read_bytes() == b"two"


async def test_without_its_secrets_it_waits_and_says_so(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha, orchestrator.artifacts = _packed(PROGRAM)
    orchestrator.secrets = {"db-password": FILE_VALUE}
    agent.start()
    await orchestrator.want(desired(spec(sha, secrets=USES)))
    await until(
        lambda: "secret api was not sent" in str(orchestrator.seen(NAME)), "the reason to be told"
    )
    assert orchestrator.state(NAME) is S.CREATING
    orchestrator.secrets["api"] = b"\xff\xfe"
    await until(lambda: "secret api is not text" in str(orchestrator.seen(NAME)), "the other one")
    orchestrator.secrets["api"] = b"k"
    await orchestrator.reaches(NAME, S.RUNNING)


async def test_a_completed_one_shot_keeps_nothing_and_clear_takes_the_rest(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha, orchestrator.artifacts = _packed("print('done')")
    other, more = _packed(PROGRAM)
    orchestrator.artifacts |= more
    orchestrator.secrets = {"db-password": FILE_VALUE, "api": b"k"}
    agent.start()
    once = spec(sha, "once", one_shot=True, restart=RestartPolicy("never"), secrets=USES)
    await orchestrator.want(desired(once, 1), desired(spec(other, secrets=USES)))
    await orchestrator.reaches(NAME, S.RUNNING)
    await orchestrator.reaches("app.ns.once.ns.instance.1", S.COMPLETED)
    base = place(agent)
    await until(lambda: Memory(base).names() == {NAME}, "those of the one that ended to go")

    # A killed agent leaves them to the next one, and `clear` takes all of them away.
    agent.kill()
    assert Memory(base).names() == {NAME}
    clear(str(agent.prefix))
    assert not base.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process to a user")
async def test_files_are_their_instances_users_alone(bus: Bus, orchestrator: Orchestrator) -> None:
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))  # others may pass there
    agent = AgentProcess.create(bus, folder, overlay_driver="host", address="127.0.0.1")
    try:
        base = place(agent)
        tries = [
            'cat "$OAKCTL_SECRETS/db-password" >/dev/null && echo READ-OWN',
            'echo x >"$OAKCTL_SECRETS/db-password" || echo NOT-WRITTEN',
            'echo x >"$OAKCTL_SECRETS/more" || echo NO-MORE',
            f"cat {base}/files/{OTHER}/db-password && echo READ-OTHERS",
            f"cat {base}/kept/{NAME}.json && echo READ-KEPT",
            f"ls {base}/files && echo LISTED",
            "id -u; echo end; exec sleep 600",
        ]
        sha, body = artifact(
            command=("/bin/sh", "{artifact}/run"), extra={"run": "\n".join(tries).encode()}
        )
        orchestrator.artifacts = {sha: body}
        orchestrator.secrets = {"db-password": FILE_VALUE, "api": ENV_VALUE.encode()}
        agent.start()
        service = spec(sha, secrets=USES)
        await orchestrator.want(desired(service, 1))
        await orchestrator.reaches(OTHER, S.RUNNING)
        await orchestrator.want(desired(service, 0), desired(service, 1))
        await orchestrator.reaches(NAME, S.RUNNING)
        said = (await log_of(orchestrator, "end\n")).splitlines()
        user = identity.FIRST + 70
        assert [line for line in said if "ermission denied" not in line] == [
            "READ-OWN", "NOT-WRITTEN", "NO-MORE", str(user), "end",
        ]  # fmt: skip
        found = (base / "files" / NAME / "db-password").stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (user, 0o400)
    finally:
        agent.destroy()
        shutil.rmtree(folder)


async def test_where_there_is_no_memory_a_node_takes_none(
    agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "candidates", lambda: [tmp_path / "none"])
    none = Secrets(str(agent.prefix), None, lambda: None)  # type: ignore[arg-type]
    assert "is a file system in memory" in none.reason
    with pytest.raises(NoMemory, match="is a file system in memory"):
        memory.place("/x")


async def test_the_facts_say_that_a_node_takes_secrets(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    agent.start()
    await until(lambda: orchestrator.greetings, "a greeting")
    assert orchestrator.greetings[-1].facts.secrets
    assert orchestrator.greetings[-1].facts.secrets_reason == ""


def test_the_file_system_of_a_directory(tmp_path: Path) -> None:
    inside = tmp_path / "a b"
    inside.mkdir()
    escaped = str(inside).replace(" ", "\\040")
    mounts = f"x / ext4 rw 0 0\ny {escaped} tmpfs rw 0 0\n"
    assert file_system(inside, mounts) == "tmpfs"
    assert file_system(tmp_path, mounts) == "ext4"
    assert file_system(inside, f"{mounts}z {escaped} ext4 rw 0 0\n") == "ext4"
    assert file_system(tmp_path / "none", mounts) == ""


def test_what_has_our_name_and_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ours").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NoMemory, match="is not the agent's own"):
        Memory(tmp_path / "ours").write("a", b"{}", {"f": b"x"})
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_not_given_any_more_goes(tmp_path: Path) -> None:
    made = Memory(tmp_path / "base")
    made.write("a", b"{}", {"f": b"x", "g": b"y"})
    made.write("a", b"{}", {"g": b"z"})
    assert [path.name for path in made.files("a").iterdir()] == ["g"]
    assert made.names() == {"a"}
    made.remove("a")
    assert not (tmp_path / "base").exists()


def test_what_an_instance_gets_of_an_answer() -> None:
    mount = SecretUse("cert", "/etc/tls/cert.pem")
    answer = SecretsAnswer(
        (SecretValue("cert", 1, encoded(b"\0pem")), SecretValue("api", 1, encoded(b"k")))
    )
    kept, files = given((mount, SecretUse("api", "KEY", ENV)), answer)
    assert kept == Kept((mount, SecretUse("api", "KEY", ENV)), {"KEY": "k"})
    assert files == {file_of(mount): b"\0pem"}
    assert "/" not in file_of(mount)
    with pytest.raises(ValueError, match="secret cert has a NUL in it"):
        given((SecretUse("cert", "CERT", ENV),), answer)
    large = SecretsAnswer((SecretValue("api", 1, encoded(b"k" * (LARGEST_VARIABLE + 1))),))
    with pytest.raises(ValueError, match="secret api has 100001 bytes"):
        given((SecretUse("api", "KEY", ENV),), large)
    assert encoded(b"\0pem") not in repr(answer)
    assert "'k'" not in repr(kept)


def test_a_value_is_in_no_words() -> None:
    secret = SecretValue("a", 1, encoded(b"hidden"))
    assert encoded(b"hidden") not in repr(secret)
    with pytest.raises(ValueError, match="is not in base 64") as error:
        _ = SecretValue("a", 1, "not base 64!").content
    assert "not base 64!" not in str(error.value)


def _packed(program: str) -> tuple[str, dict[str, bytes]]:
    sha, body = artifact(program)
    return sha, {sha: body}


def _pid(orchestrator: Orchestrator) -> int:
    seen = orchestrator.seen(NAME)
    return seen.pid if seen and seen.state is S.RUNNING else 0


def test_the_launcher_reads_what_the_agent_keeps() -> None:
    """Both sides of one file: the launcher imports nothing of ours."""
    kept = json.loads(wire.encode(Kept(USES, {"API_KEY": "k"})))
    assert kept["environment"] == {"API_KEY": "k"}
