"""Every field failure has a test by its number."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_number_has_its_test() -> None:
    code = "".join(file.read_text() for file in Path(__file__).parent.glob("test_p*.py"))
    named = {int(number) for number in re.findall(r"def test_p(\d\d)_", code)}
    assert named == set(range(1, 37))
