"""What a command on hosts says is kept only where it is written at the end."""

from __future__ import annotations

import pytest

from oakctl.cli import host_commands
from oakctl.cli.output import Format
from oakctl.model.hosts import HostOutput


@pytest.mark.parametrize(("form", "kept"), [(Format.TABLE, []), (Format.JSON, ["a"])])
def test_a_line_that_was_shown_is_not_kept(
    form: Format, kept: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = host_commands._Result()
    host_commands._take(HostOutput("pi", "out", "a"), result, False, form)
    assert result.lines["out"] == kept
    assert capsys.readouterr().out == ("" if kept else "a\n")
