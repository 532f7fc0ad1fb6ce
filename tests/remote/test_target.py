"""What both libraries are told of a host."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from oakctl.errors import Unreachable, UsageError
from oakctl.model.views import HostView
from oakctl.remote.hostkeys import line_for
from oakctl.remote.target import Target, split_address

PI = Target("pi", "10.0.0.1", user="anna")


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
        "pi", "10.0.0.1", 2222, "anna", "/key", ("hop",), accept_new=True, ssh_config=True
    )
    assert not Target.of(replace(view, lab="dev")).ssh_config


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
