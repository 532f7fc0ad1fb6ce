"""A script arrives at `sh` as it was, through whatever login shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oakctl.remote import shells

LOGIN_SHELLS = ("sh", "bash", "dash", "zsh", "fish", "tcsh")
ODD = """printf '%s|' 'a'"'"'b' "!! $HOME \\\\ `echo x`"
# a comment: it's 100 %
printf '\\té !'"""


def through(shell: str, script: str) -> bytes:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell}")
    done = subprocess.run(
        [found, "-c", shells.words(script)],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/h"},
        timeout=20,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_odd_scripts(shell: str) -> None:
    assert through(shell, ODD) == "a'b|!! /h \\ x|\t\u00e9 !".encode()
    assert through(shell, "cat <<'EOF'\nlines!\n\n  kept \\n\nEOF") == b"lines!\n\n  kept \\n\n"


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_any_text(shell: str, text: str) -> None:
    here = f"cat <<'end of it'\n{text}\nend of it\n"
    lines = text.split("\n")
    if "end of it" not in lines:
        assert through(shell, here) == f"{text}\n".encode()


def test_a_mark_is_seen_in_the_list_of_processes() -> None:
    assert "0123abcd" in shells.words("echo 0123abcd\ntrue")
    assert shells.words("true") == "sh -c true"
