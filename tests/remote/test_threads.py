"""Threads for what blocks: a process that wants to leave does not wait for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

import oakctl
from oakctl.remote import threads

DEADLINE_S = 60.0

STUCK = {
    "one": "threads.begin(threading.Event().wait, 'stuck')",
    "several": "threads.side_by_side([threading.Event().wait] * 3, 2, 'stuck')",
    # As a root that looks at hosts which do not answer, and is told to leave.
    "looks": """
async def main():
    from oakctl.orchestration.root.checking import side_by_side
    begun = threading.Event()
    def ask(host):
        begun.set()
        threading.Event().wait()
    task = asyncio.ensure_future(side_by_side([1, 2], ask))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
asyncio.run(main())
""",
    "steps": """
from oakctl.remote import runner
from oakctl.remote.step import Step
class Remote:
    name = "pi"
steps = [Step("wait", lambda remote: threading.Event().wait(), lambda remote: None)]
threading.Thread(target=runner.look, args=(steps, Remote()), daemon=True).start()
while not any(each.name.startswith("look pi") for each in threading.enumerate()):
    pass
""",
}


@pytest.mark.parametrize("work", STUCK)
def test_a_process_leaves_whatever_is_stuck(work: str) -> None:
    code = f"import asyncio, threading\nfrom oakctl.remote import threads\n{STUCK[work]}"
    source = str(Path(oakctl.__file__).parent.parent)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=source,
        timeout=DEADLINE_S,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stderr == ""


def test_each_gives_its_own_result_and_no_more_run_than_may() -> None:
    running, most, counting = 0, 0, threading.Lock()
    gate = threading.Barrier(2)

    def work(number: int) -> int:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        gate.wait(DEADLINE_S)
        with counting:
            running -= 1
        return number

    begun = threads.side_by_side([lambda n=n: work(n) for n in range(6)], 2, "numbers")  # type: ignore[misc]
    assert [each.result(DEADLINE_S) for each in begun] == list(range(6))
    assert most == 2


def test_what_breaks_is_raised_where_it_is_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        threads.begin(lambda: 1 // 0, "broken").result(DEADLINE_S)


def test_one_that_is_cancelled_before_its_turn_is_left_out() -> None:
    go, done = threading.Event(), []
    first, second, third = threads.side_by_side(
        [lambda: go.wait(DEADLINE_S), lambda: done.append(2), lambda: done.append(3)], 1, "turns"
    )
    assert second.cancel()
    go.set()
    wait([first, third], DEADLINE_S)
    assert done == [3]
