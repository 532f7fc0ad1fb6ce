"""The program as a process: streams, exit codes, signals, pipes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import oakctl as package
from oakctl.errors import (
    Conflict,
    DeadlineExceeded,
    NotFound,
    OakError,
    Unreachable,
    UsageError,
)

from .conftest import DEADLINE_S, ROOT, Oakctl

OLD_SHAPE = '{"microservices": [{"microservice_name": "a", "microservice_namespace": "b"}]}'


def test_version_is_data(oakctl: Oakctl) -> None:
    ended = oakctl("version")
    assert (ended.code, ended.out, ended.err) == (0, f"{package.__version__}\n", "")


def test_usage_fault_is_on_stderr_with_a_hint(oakctl: Oakctl) -> None:
    ended = oakctl("worker", "ad")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err == (
        "error: no such command 'ad'. Did you mean 'add'?\n\nhint: oakctl worker --help\n"
    )


@pytest.mark.parametrize(
    "arguments", [("app", "apply"), ("service", "scale", "x", "-1"), ("lab",), ()]
)
def test_wrong_calls_end_with_2(oakctl: Oakctl, arguments: tuple[str, ...]) -> None:
    ended = oakctl(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err


def test_missing_file_is_not_found(oakctl: Oakctl) -> None:
    ended = oakctl("app", "validate", "-f", "/nowhere.yaml")
    assert (ended.code, ended.err) == (3, "error: there is no file /nowhere.yaml\n")


def test_validate_tells_every_fault_and_says_nothing_on_stdout(oakctl: Oakctl) -> None:
    ended = oakctl(
        "app", "validate", "-f", "-", stdin='{"sla_version": "v2.0", "applications": [{}]}'
    )
    assert ended.code == 1
    assert ended.out == ""
    faults = [line for line in ended.err.splitlines() if line.startswith("error: applications[0]")]
    assert len(faults) > 1
    assert ended.err.splitlines()[-1].startswith("error: standard input is refused: ")


def test_convert_writes_what_validate_reads(oakctl: Oakctl) -> None:
    converted = oakctl("app", "convert", "-f", "-", stdin=OLD_SHAPE)
    assert converted.code == 0
    assert '"applications"' in converted.out


@pytest.mark.parametrize("arguments", [("app", "delete", "x.y"), ("lab", "power-cut", "w1")])
def test_what_destroys_needs_yes_without_a_terminal(
    oakctl: Oakctl, arguments: tuple[str, ...]
) -> None:
    ended = oakctl(*arguments)
    assert ended.code == 2
    assert ended.err.endswith(f"hint: oakctl {' '.join(arguments)} --yes\n")


def test_what_to_type_next_has_every_option_that_was_given(oakctl: Oakctl) -> None:
    given = ("worker", "remove", "w1", "--cluster", "edge", "--timeout", "5m")
    ended = oakctl(*given)
    assert ended.err.endswith(f"hint: oakctl {' '.join(given)} --yes\n")


ERRORS = [OakError, UsageError, NotFound, Unreachable, DeadlineExceeded, Conflict]


@pytest.mark.parametrize(("code", "kind"), enumerate(ERRORS, start=1))
def test_every_error_has_its_code_and_form(
    code: int,
    kind: type[OakError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from oakctl import __main__

    def fail(arguments: list[str]) -> int:
        raise kind("it \x1b[31mfailed", hint="do this", details=("one", "two"))

    monkeypatch.setattr(__main__, "_run", fail)
    assert __main__.main([]) == code
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "error: it [31mfailed\n  one\n  two\n\nhint: do this\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_wait_with_its_code_after_cleaning_up(number: int, code: int) -> None:
    script = """
import asyncio, sys
from oakctl import __main__
from oakctl.cli import session
async def wait():
    try:
        print("waiting", flush=True)
        await asyncio.Event().wait()
    finally:
        print("cleaned", flush=True)
__main__._run = lambda arguments: session.run(wait())
sys.exit(__main__.main([]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (code, "cleaned\n", "")


def test_closed_pipe_is_quiet() -> None:
    script = """
import sys
from oakctl import __main__
from oakctl.cli import output
def talk(arguments):
    while True:
        output.line("x" * 1000)
__main__._run = talk
sys.exit(__main__.main([]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(("typed", "code"), [(b"\n", 1), (b"n\n", 1), (b"y\n", 0), (b"yes\n", 0)])
def test_question_on_a_terminal_is_no_unless_yes(typed: bytes, code: int, tmp_path: Path) -> None:
    script = """
import sys
from oakctl import __main__
from oakctl.cli import diagnostics
__main__._run = lambda arguments: diagnostics.confirm("Really?", yes=False) or 0
sys.exit(__main__.main([]))
"""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    try:
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, typed)
        assert process.wait(DEADLINE_S) == code
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    "address", ["-oProxyCommand=id", "pi@-x", "a@b@c", "h:99999", "h:٣٣", "a b"]
)
def test_what_is_no_address_is_refused(oakctl: Oakctl, address: str) -> None:
    ended = oakctl("host", "add", "pi", "--", address)
    assert ended.code == 2
    assert "is not USER@ADDRESS[:PORT]" in ended.err


@pytest.mark.parametrize("name", ["", "a/b", "../../etc"])
def test_what_is_no_name_is_refused(with_root: Oakctl, name: str) -> None:
    ended = with_root("app", "show", name)
    assert ended.code == 2
    assert f"{name!r} is not a name" in ended.err


def test_a_state_directory_that_cannot_be_made(
    oakctl: Oakctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    ended = oakctl("host", "ls")
    assert ended.code == 1
    assert ended.err.startswith("error: the directory /dev/null/oakctl cannot be made: ")


def test_a_lab_goes_without_a_root_to_tell(oakctl: Oakctl, own_directories: Path) -> None:
    database = own_directories / "state" / "oakctl" / "root.db"
    database.parent.mkdir(parents=True)
    database.write_text("no database")
    ended = oakctl("lab", "down", "small")
    assert ended.code == 0
    assert "warning: the root is not told: " in ended.err
    assert ended.err.endswith("lab small is gone\n")
