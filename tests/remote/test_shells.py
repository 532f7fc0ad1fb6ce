"""What login shells leave whole: sh's family, csh and fish, as far as they are here."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oakctl.remote import shells
from oakctl.remote.channels import end_command

SHELLS = ("sh", "bash", "dash", "zsh", "tcsh", "fish", "busybox")
HERE = [name for name in SHELLS if shutil.which(name)]


def through(shell: str, command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """As sshd does it: the login shell gets the command line as one word."""
    words = [shell, *(["sh"] if shell == "busybox" else []), "-c", command]
    return subprocess.run(words, input=stdin, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("shell", HERE)
@given(text=st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_arrives_as_it_is(shell: str, text: str) -> None:
    import shlex

    done = through(shell, shells.sh(f"printf %s {shlex.quote(text)}; cat; exit 3"), b"input\n")
    assert (done.stdout, done.returncode) == (text.encode() + b"input\n", 3)


@pytest.mark.parametrize("shell", HERE)
def test_lines_escapes_and_exclamation_marks(shell: str) -> None:
    script = "a='it''s !! \\\\ $HOME'\ncat <<'X'\n\\n !x\nX\nprintf '%s|%s\\n' \"$a\" \"$1\"\n"
    done = through(shell, shells.sh(script, "an argument"))
    assert done.stdout == b"\\n !x\nits !! \\\\ $HOME|an argument\n", done.stderr


def test_simple_commands_stay_readable() -> None:
    assert shells.sh("systemctl restart oakctl-agent") == ("sh -c 'systemctl restart oakctl-agent'")
    assert shells.sh("cat $1", "/a b") == "sh -c 'cat $1' sh '/a b'"


def test_without_base64_nothing_is_taken_for_done() -> None:
    script = shells.sh("echo a\nexit 0")
    done = subprocess.run(
        ["/bin/sh", "-c", script.replace("base64", "no-such-tool")],
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 127
    assert done.stdout == b""


@pytest.mark.parametrize("shell", HERE)
def test_ending_what_runs_names_it(shell: str) -> None:
    command = end_command("0123456789abcdef")
    assert "0123456789abcdef" in command
    assert through(shell, command).stderr == b""
