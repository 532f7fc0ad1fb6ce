"""What a command is given as a file: read once, and a fault in words that say nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.cli import source
from oakctl.errors import NotFound, UsageError

from .conftest import Oakctl


def test_a_password_is_read_once(tmp_path: Path) -> None:
    """The second look of one command gets it too, where standard input would be at its end."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert source.password(file) == "secret"
    file.write_text("")
    assert source.password(file) == "secret"


def test_a_password_that_is_no_text_says_nothing_of_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"pass\xe9word\n")
    with pytest.raises(UsageError) as refused:
        source.password(file)
    assert refused.value.message == f"the password file {file} is not UTF-8 text"
    # A traceback shows causes: this one's names a byte.
    assert refused.value.__cause__ is refused.value.__context__ is None


def test_a_password_that_cannot_be_had(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFound, match=f"the password file {wrong} cannot be read"):
            source.password(wrong)
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        source.password(empty)


def test_no_fault_of_the_programs_for_files_that_are_none(
    oakctl: Oakctl, with_root: Oakctl, tmp_path: Path
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"hosts: \xff\n")
    for command in (("fleet", "plan"), ("app", "validate"), ("lab", "up", "--kind", "machines")):
        for file in (tmp_path, binary, tmp_path / "none"):
            ended = oakctl(*command, "-f", str(file))
            assert ended.code in (1, 2, 3)
            assert ended.err.startswith("error: ")
    refused = with_root("host", "run", "--all", "--sudo-password-file", str(binary), "--", "true")
    assert (refused.code, "0xff" in refused.err) == (2, False)
