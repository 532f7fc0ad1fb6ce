"""Known host keys: files read as OpenSSH reads them, one file written."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import Unreachable
from oakctl.remote import hostkeys
from oakctl.remote.hostkeys import HostKeys, line_for


def new_key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind).convert_to_public()


@pytest.fixture
def keys(tmp_path: Path) -> HostKeys:
    return HostKeys(files=(tmp_path / "users",), store=paths.known_hosts())


def accepting(keys: HostKeys) -> HostKeys:
    return HostKeys(keys.files, keys.store, accept_new=True)


def test_unknown_is_refused_and_nothing_is_written(keys: HostKeys) -> None:
    key = new_key()
    with pytest.raises(Unreachable, match="is not known") as caught:
        keys.admit("pi", "10.0.0.1", 22, key)
    assert key.get_fingerprint() in caught.value.message
    assert not keys.store.exists()


def test_accepted_is_stored_privately_and_believed_from_then_on(keys: HostKeys) -> None:
    key = new_key()
    accepting(keys).admit("pi", "10.0.0.1", 2222, key)
    keys.admit("pi", "10.0.0.1", 2222, key)
    assert stat.S_IMODE(keys.store.stat().st_mode) == 0o600
    assert keys.store.read_text() == line_for("10.0.0.1", 2222, key)
    assert keys.store.read_text().startswith("[10.0.0.1]:2222 ssh-ed25519 ")


def test_changed_is_refused_even_when_new_ones_are_accepted(keys: HostKeys) -> None:
    old, new = new_key(), new_key()
    accepting(keys).admit("pi", "10.0.0.1", 22, old)
    before = keys.store.read_bytes()
    with pytest.raises(Unreachable, match="has changed") as caught:
        accepting(keys).admit("pi", "10.0.0.1", 22, new)
    assert old.get_fingerprint() in caught.value.message
    assert new.get_fingerprint() in caught.value.message
    assert "oakctl host trust pi" in caught.value.hint
    assert f"stored in {keys.store}" in caught.value.details[-1]
    assert keys.store.read_bytes() == before


def test_another_type_of_key_counts_as_changed(keys: HostKeys) -> None:
    accepting(keys).admit("pi", "10.0.0.1", 22, new_key())
    with pytest.raises(Unreachable, match="has changed"):
        accepting(keys).admit("pi", "10.0.0.1", 22, new_key("ecdsa-sha2-nistp256"))


def test_key_in_the_users_file_is_believed_and_named_when_it_changed(keys: HostKeys) -> None:
    key = new_key()
    keys.files[0].write_text(line_for("pi.lan", 22, key))
    keys.admit("pi", "pi.lan", 22, key)
    with pytest.raises(Unreachable) as caught:
        accepting(keys).admit("pi", "pi.lan", 22, new_key())
    assert str(keys.files[0]) in caught.value.details[-1]


def test_key_of_port_22_says_nothing_of_another_port(keys: HostKeys) -> None:
    keys.files[0].write_text(line_for("10.0.0.1", 22, new_key()))
    assert keys.trusted("10.0.0.1", 2222) == []
    accepting(keys).admit("pi", "10.0.0.1", 2222, new_key())


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
@pytest.mark.parametrize("port", [22, 2222])
def test_hashed_names_are_read(keys: HostKeys, port: int) -> None:
    key = new_key()
    keys.files[0].write_text(line_for("10.0.0.1", port, key))
    subprocess.run(["ssh-keygen", "-H", "-f", str(keys.files[0])], check=True, capture_output=True)
    assert "10.0.0.1" not in keys.files[0].read_text()
    assert keys.trusted("10.0.0.1", port) == [key]
    assert keys.trusted("10.0.0.2", port) == []


def test_revoked_is_refused(keys: HostKeys) -> None:
    key = new_key()
    keys.files[0].write_text("@revoked " + line_for("10.0.0.1", 22, key))
    with pytest.raises(Unreachable, match="revoked"):
        accepting(keys).admit("pi", "10.0.0.1", 22, key)


def test_line_that_is_none_does_not_hide_the_others(keys: HostKeys) -> None:
    key = new_key()
    keys.files[0].write_text("10.0.0.9 ssh-unheard-of AAAA\n" + line_for("10.0.0.1", 22, key))
    keys.admit("pi", "10.0.0.1", 22, key)


def test_file_without_newline_at_its_end_is_added_to(keys: HostKeys) -> None:
    first, second = new_key(), new_key()
    paths.private_directory(keys.store.parent)
    keys.store.write_text(line_for("10.0.0.1", 22, first).strip())
    accepting(keys).admit("b", "10.0.0.2", 22, second)
    keys.admit("a", "10.0.0.1", 22, first)
    keys.admit("b", "10.0.0.2", 22, second)


def test_many_at_once_lose_nothing(keys: HostKeys) -> None:
    made = {f"10.0.0.{n}": new_key() for n in range(1, 25)}
    threads = [
        threading.Thread(target=accepting(keys).admit, args=(address, address, 22, key))
        for address, key in made.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {address: keys.trusted(address, 22) for address in made} == {
        address: [key] for address, key in made.items()
    }


def test_stored_type_is_asked_for_first(keys: HostKeys) -> None:
    assert keys.algorithms("10.0.0.1", 22) == hostkeys.ALGORITHMS
    keys.files[0].write_text(line_for("10.0.0.1", 22, new_key("ssh-rsa")))
    assert keys.algorithms("10.0.0.1", 22)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert set(keys.algorithms("10.0.0.1", 22)) == set(hostkeys.ALGORITHMS)


def test_forgotten_is_unknown_again(keys: HostKeys) -> None:
    kept = new_key()
    accepting(keys).admit("pi", "10.0.0.1", 22, new_key())
    accepting(keys).admit("pi", "10.0.0.1", 2222, kept)
    assert hostkeys.forget("10.0.0.1", 22)
    assert not hostkeys.forget("10.0.0.1", 22)
    assert keys.trusted("10.0.0.1", 22) == []
    keys.admit("pi", "10.0.0.1", 2222, kept)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
@pytest.mark.parametrize(("address", "port"), [("10.0.0.1", 22), ("fe80::1", 2222), ("::1", 22)])
def test_forgotten_though_hashed_and_whatever_the_address(
    keys: HostKeys, address: str, port: int
) -> None:
    kept = new_key()
    accepting(keys).admit("pi", address, port, new_key())
    accepting(keys).admit("other", "10.0.0.2", port, kept)
    subprocess.run(["ssh-keygen", "-H", "-f", str(keys.store)], check=True, capture_output=True)
    assert address not in keys.store.read_text()
    assert hostkeys.forget(address, port)
    assert keys.trusted(address, port) == []
    assert keys.trusted("10.0.0.2", port) == [kept]


def test_what_we_stored_goes_before_what_the_users_file_says(keys: HostKeys) -> None:
    old, new = new_key(), new_key()
    keys.files[0].write_text(line_for("10.0.0.1", 22, old))
    before = keys.files[0].read_bytes()
    assert keys.state("10.0.0.1", 22, new) == "changed"
    hostkeys.trust("10.0.0.1", 22, new)
    assert (keys.state("10.0.0.1", 22, new), keys.state("10.0.0.1", 22, old)) == (
        "trusted",
        "changed",
    )
    assert keys.files[0].read_bytes() == before
    newer = new_key()
    hostkeys.trust("10.0.0.1", 22, newer)
    assert keys.trusted("10.0.0.1", 22) == [newer]


def test_a_revoked_key_is_revoked_though_it_was_trusted(keys: HostKeys) -> None:
    key = new_key()
    hostkeys.trust("10.0.0.1", 22, key)
    keys.files[0].write_text("@revoked * " + line_for("x", 22, key).partition(" ")[2])
    assert keys.state("10.0.0.1", 22, key) == "revoked"
    with pytest.raises(Unreachable, match="revoked"):
        keys.admit("pi", "10.0.0.1", 22, key)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
@pytest.mark.parametrize(("address", "port"), [("Pi.Lan", 22), ("pi.lan", 2222), ("fe80::1", 2222)])
def test_written_as_ssh_keygen_finds_it(keys: HostKeys, address: str, port: int) -> None:
    accepting(keys).admit("pi", address, port, new_key())
    name = hostkeys.pattern(address, port)
    found = subprocess.run(
        ["ssh-keygen", "-f", str(keys.store), "-F", name], check=False, capture_output=True
    )
    assert found.returncode == 0
