"""What both libraries are told of a host."""

from __future__ import annotations

import socket
from pathlib import Path

import asyncssh
import pytest

from oakctl.errors import Unreachable, UsageError
from oakctl.model.views import HostView
from oakctl.remote.hostkeys import line_for
from oakctl.remote.target import Target, agent_socket, split_address

PI = Target("pi", "10.0.0.1", user="anna")


def key_file(path: Path, passphrase: str | None = None) -> Path:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path, passphrase=passphrase)
    return path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("anna@pi.lan:2222", ("anna", "pi.lan", 2222)),
        ("pi.lan", ("", "pi.lan", 22)),
        ("anna@pi", ("anna", "pi", 22)),
        ("a@b@pi", ("a@b", "pi", 22)),
        ("[fe80::1]:2222", ("", "fe80::1", 2222)),
        ("anna@[::1]", ("anna", "::1", 22)),
        ("2001:db8::7", ("", "2001:db8::7", 22)),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, int]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize("text", ["", "anna@", "pi:", "pi:ssh", "pi:0", "pi:65536", ":22"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="no machine"):
        split_address(text)


def test_made_of_a_view() -> None:
    view = HostView("pi", "10.0.0.1", 2222, "anna", "/key", ("hop",))
    assert Target.of(view, accept_new=True) == Target(
        "pi", "10.0.0.1", 2222, "anna", "/key", ("hop",), accept_new=True
    )


def test_hops_go_by_the_same_rule() -> None:
    target = Target("pi", "10.0.0.1", user="anna", accept_new=True, jump=("bob@a:1", "b"))
    first, second = target.hops()
    assert (first.login, first.address, first.port, first.jump) == ("bob", "a", 1, ())
    assert (second.login, second.address, second.port) == ("anna", "b", 22)
    assert first.accept_new
    assert second.accept_new


def test_further_files_of_host_keys_are_read(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    extra = tmp_path / "extra"
    extra.write_text(line_for("10.0.0.1", 22, key))
    Target("pi", "10.0.0.1", known_hosts=(str(extra),)).admit(key)
    with pytest.raises(Unreachable, match="not known"):
        PI.admit(key)


def test_host_keys_are_never_left_to_the_libraries() -> None:
    options = PI.asyncssh_options(asyncssh.SSHClient)
    assert options["known_hosts"] == ([], [], [])  # None would mean: believe every key
    assert options["config"] is None


def test_a_key_file_is_the_only_key_that_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        assert agent_socket() == str(tmp_path / "agent")
        target = Target("pi", "10.0.0.1", identity_file=str(key_file(tmp_path / "id")))
        assert target.fabric_options()["allow_agent"] is False
        assert target.fabric_options()["look_for_keys"] is False
        assert target.asyncssh_options(asyncssh.SSHClient)["agent_path"] == ""
        assert PI.fabric_options()["allow_agent"] is True
        locked = key_file(tmp_path / "locked", "secret")
        asked = Target("pi", "10.0.0.1", identity_file=str(locked)).fabric_options()
        assert (asked["allow_agent"], asked["key_filename"]) == (True, [])


def test_a_dead_agent_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    assert agent_socket() == ""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert agent_socket() == ""
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert agent_socket() == ""


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


def test_how_to_be_let_in_is_a_command() -> None:
    target = Target("pi", "10.0.0.1", 2222, "anna", "/key", ("hop",))
    assert target.refused().hint == ("ssh-copy-id -i /key -o ProxyJump=hop -p 2222 anna@10.0.0.1")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "10.0.0.1:22 refuses connections"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be looked up: Name or service"),
        (TimeoutError(), "does not answer in time"),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (EOFError(), "broke the connection off: EOFError"),
    ],
)
def test_why_a_host_was_not_reached(error: Exception, words: str) -> None:
    assert words in PI.no_answer(error).message
