"""Which keys are offered, against a real agent where `ssh-agent` is there."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from oakctl.errors import Unreachable
from oakctl.remote import identity
from oakctl.remote.identity import Identity, KeyLocked, agent_socket
from oakctl.remote.target import Target

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
needs_agent = pytest.mark.skipif(not shutil.which("ssh-agent"), reason="no ssh-agent")


def key_file(path: Path, passphrase: str | None = None, kind: str = "ssh-ed25519") -> Path:
    """A key in OpenSSH's own format, its .pub not beside it."""
    key = asyncssh.generate_private_key(kind)
    key.write_private_key(path, passphrase=passphrase)
    path.chmod(0o600)
    return path


def find(*named: Path, agent: str = "", required: bool = False, only: bool = False) -> Identity:
    files = [str(file) for file in named]
    return identity.find("pi", files, required=required, only=only, agent=agent)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not agent_socket(str(path)):
            assert process.poll() is None
        yield str(path)
    finally:
        process.terminate()
        process.wait(20)


def add(agent: str, file: Path) -> None:
    subprocess.run(
        ["ssh-add", "-q", str(file)], env={"SSH_AUTH_SOCK": agent, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, check=True, timeout=20,
    )  # fmt: skip


def unlocked(file: Path, passphrase: str) -> Path:
    """The same key without a passphrase."""
    path = file.with_name(f"{file.name}-open")
    asyncssh.read_private_key(file, passphrase).write_private_key(path)
    path.chmod(0o600)
    return path


@needs_agent
def test_a_named_key_is_the_only_one_that_is_offered(agent: str, tmp_path: Path) -> None:
    add(agent, key_file(tmp_path / "other"))
    file = key_file(tmp_path / "id")
    assert [offer.file for offer in find(file, agent=agent, only=True).offers] == [file]


@needs_agent
def test_named_keys_come_before_the_agents_others(agent: str, tmp_path: Path) -> None:
    for number in range(3):
        add(agent, key_file(tmp_path / f"other{number}"))
    file = key_file(tmp_path / "id")
    found = find(file, agent=agent)
    assert [offer.file for offer in found.offers] == [file, None, None, None]


@needs_agent
def test_without_named_keys_the_usual_ones_come_last(
    agent: str, tmp_path: Path, own_home: Path
) -> None:
    add(agent, key_file(tmp_path / "other"))
    (own_home / ".ssh").mkdir()
    usual = key_file(own_home / ".ssh" / "id_ed25519")
    assert [offer.file for offer in find(agent=agent).offers] == [None, usual]


@needs_agent
@pytest.mark.parametrize("kind", KINDS)
def test_a_locked_key_that_the_agent_holds_needs_no_passphrase(
    agent: str, tmp_path: Path, kind: str
) -> None:
    file = key_file(tmp_path / "locked", "secret", kind)
    assert find(file, agent=agent, only=True) == Identity((), agent, (file,))
    add(agent, unlocked(file, "secret"))
    found = find(file, agent=agent, only=True)
    assert (len(found.offers), found.offers[0].file, found.locked) == (1, None, ())


@needs_agent
def test_a_public_file_names_a_key_of_the_agent(agent: str, tmp_path: Path) -> None:
    file = key_file(tmp_path / "id")
    add(agent, file)
    add(agent, key_file(tmp_path / "other"))
    public = tmp_path / "id.pub"
    asyncssh.read_private_key(file).write_public_key(public)
    file.unlink()
    assert len(find(public, agent=agent, only=True).offers) == 1


@pytest.mark.parametrize("format_name", ["openssh", "pkcs1-pem", "pkcs8-pem"])
def test_a_passphrase_opens_the_key_and_is_never_shown(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / "locked"
    key = asyncssh.generate_private_key("ssh-rsa")
    key.write_private_key(file, format_name, "secret word")
    assert identity.find(
        "pi", [str(file)], required=True, only=True, agent=""
    ).locked == (file,)  # fmt: skip
    found = identity.find(
        "pi",
        [str(file)],
        required=True,
        only=True,
        agent="",
        passphrases={str(file): "secret word"}.get,  # type: ignore[arg-type]
    )
    assert found.offers[0].blob == key.public_data
    assert "secret" not in repr(found)
    with pytest.raises((asyncssh.KeyEncryptionError, asyncssh.KeyImportError)):
        identity.unlock(file, "wrong")


def test_the_public_part_is_read_from_a_locked_key(tmp_path: Path) -> None:
    file = key_file(tmp_path / "locked", "secret")
    assert identity.public_part(file) == asyncssh.read_private_key(file, "secret").public_data


def test_key_files_of_no_use(tmp_path: Path) -> None:
    def message(file: Path) -> str:
        with pytest.raises(Unreachable) as caught:
            Target("pi", "10.0.0.1", identity_file=str(file)).identity()
        return f"{caught.value.message} | {caught.value.hint}"

    assert "does not exist" in message(tmp_path / "missing")
    (tmp_path / "text").write_text("hello\n")
    assert "is no private key" in message(tmp_path / "text")
    assert "passphrase" in message(key_file(tmp_path / "locked", "secret"))
    assert "ssh-add" in message(tmp_path / "locked")
    assert "cannot be read" in message(tmp_path)
    # Those that only ssh_config names are passed over, as ssh does it.
    assert find(tmp_path / "missing", tmp_path / "text", tmp_path) == Identity(())


def test_a_locked_key_is_another_error_than_a_refusal(tmp_path: Path) -> None:
    target = Target("pi", "10.0.0.1", identity_file=str(key_file(tmp_path / "id", "secret")))
    with pytest.raises(KeyLocked, match="passphrase"):
        target.identity()
    found = Identity((), "", (tmp_path / "id",))
    assert isinstance(target.refused("", found), KeyLocked)
    assert "ssh-copy-id" in target.refused("", Identity(())).hint


def test_a_dead_agent_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    assert agent_socket() == ""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert agent_socket() == ""
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert agent_socket() == ""
    assert identity.agent_blobs(str(tmp_path / "agent")) == ()
