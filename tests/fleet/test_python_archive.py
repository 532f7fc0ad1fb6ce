"""`python_archive` in fleet.yaml: one file or several, from where the file lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import UsageError
from oakctl.fleet import reading


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("hosts: []\n", ()),
        ("hosts: []\npython_archive: p.tar.gz\n", ("/srv/site/p.tar.gz",)),
        ("hosts: []\npython_archive: [../a, /b]\n", ("/srv/a", "/b")),
    ],
)
def test_read(text: str, files: tuple[str, ...]) -> None:
    assert reading.parse(text, Path("/srv/site")).python_archives == files


@pytest.mark.parametrize("value", ["3", "''", "['']", "{a: b}"])
def test_what_is_no_file_is_a_fault(value: str) -> None:
    with pytest.raises(UsageError) as refused:
        reading.parse(f"hosts: []\npython_archive: {value}\n", Path("/srv"))
    assert any("python_archive" in detail for detail in refused.value.details)
