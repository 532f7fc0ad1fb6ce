"""The record of what was changed outside of our folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.remote import changes

entries = st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5)) | st.booleans())


@given(st.dictionaries(st.text(max_size=8), entries, max_size=4))
def test_what_is_written_is_read(found: dict[str, changes.Entry]) -> None:
    assert changes.parse(changes.text(found), "f") == found


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"changes": []}', b'{"changes": {"a": 1}}']
)
def test_one_that_is_not_ours_is_not_believed(content: bytes) -> None:
    with pytest.raises(OakError, match=r"/opt/oakctl/changes\.json is not ours") as refused:
        changes.parse(content, "/opt/oakctl/changes.json")
    assert refused.value.hint
    assert changes.parse(None, "f") == {}
