"""What containers say, each line once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker.docker import (
    outputs,
    seen,
)
from oakctl.orchestration.worker.docker.outputs import Mark

stamps = st.lists(st.integers(0, 4), max_size=30).map(sorted)


@given(stamps, st.lists(st.integers(1, 30), max_size=6))
def test_every_line_is_taken_once(times: list[int], looks: list[int]) -> None:
    """Each look sees all lines from the second of the last one on, as Docker gives them."""
    said = [
        f"2026-01-01T00:00:0{time}.000000000Z line {number}\n".encode()
        for number, time in enumerate(times)
    ]
    mark, text = Mark("c"), b""
    for upto in [*sorted(looks), len(said)]:
        since = seen.seconds(mark.at)
        visible = [line for line in said[:upto] if seen.seconds(line[:30].decode()) >= int(since)]
        fresh, mark = outputs.new_lines(visible, mark, "c")
        text += fresh
    assert text == b"".join(line.partition(b" ")[2] for line in said)
